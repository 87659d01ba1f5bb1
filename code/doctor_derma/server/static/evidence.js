// Draws an activation map over its picture, in viridis, which colour-blind people can read.

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const LONG_SIDE = 160;

// map: rows of numbers whose cells tile the picture; aspect: the picture's width over height.
export function drawEvidence(canvas, map, aspect) {
  canvas.width = Math.round(aspect >= 1 ? LONG_SIDE : LONG_SIDE * aspect) || 1;
  canvas.height = Math.round(aspect >= 1 ? LONG_SIDE / aspect : LONG_SIDE) || 1;
  const values = map.flat();
  const low = Math.min(...values);
  const range = Math.max(...values) - low;
  paint(canvas, (x, y) => (range > 0 ? (sample(map, x, y) - low) / range : 0));
}

export function drawScale(canvas) {
  paint(canvas, (x) => x);
}

// level: share 0..1 at the relative position x, y of the canvas.
function paint(canvas, level) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let row = 0, at = 0; row < canvas.height; row += 1) {
    for (let column = 0; column < canvas.width; column += 1, at += 4) {
      image.data.set(colour(level((column + 0.5) / canvas.width, (row + 0.5) / canvas.height)), at);
    }
  }
  context.putImageData(image, 0, 0);
}

// Bilinear between the centres of the cells.
function sample(map, x, y) {
  const [top, bottom, down] = neighbours(y, map.length);
  const [left, right, across] = neighbours(x, map[0].length);
  const upper = mix(map[top][left], map[top][right], across);
  const lower = mix(map[bottom][left], map[bottom][right], across);
  return mix(upper, lower, down);
}

function neighbours(position, count) {
  const place = Math.min(Math.max(position * count - 0.5, 0), count - 1);
  const before = Math.floor(place);
  return [before, Math.min(before + 1, count - 1), place - before];
}

function colour(level) {
  const [before, after, share] = neighbours((level * (VIRIDIS.length - 1) + 0.5) / VIRIDIS.length, VIRIDIS.length);
  return [...VIRIDIS[before].map((value, i) => mix(value, VIRIDIS[after][i], share)), 255];
}

function mix(from, to, share) {
  return from + (to - from) * share;
}
