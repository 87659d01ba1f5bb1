// Makes pictures smaller with the arithmetic of Pillow, to the last bit: Image.reduce and the
// bilinear Image.resize, as `fit_pixels` of images/decoding.py calls them.

// Of a picture this needs { width, height, row(y) }, where row gives 3 bytes a pixel and is asked
// for every y once, from 0.

const PRECISION = 22; // Bits behind the point of a weight, Pillow's PRECISION_BITS.
const HALF = 1 << (PRECISION - 1);
export const REDUCING_GAP = 3;

// Returns uint8 RGB, height * width * 3 bytes.
export function fit(picture, height, width) {
  const across = Math.floor(picture.width / width / REDUCING_GAP) || 1;
  const down = Math.floor(picture.height / height / REDUCING_GAP) || 1;
  const reduced = reduce(picture, across, down);
  // The last cells may be cut, so that the picture ends within them.
  const right = Math.fround(picture.width / across);
  const bottom = Math.fround(picture.height / down);
  return resize(reduced, right, bottom, width, height);
}

// Averages cells of so many columns and rows; those at the right and at the bottom may be cut.
export function reduce(picture, across, down) {
  if (across === 1 && down === 1) return picture;
  const width = Math.ceil(picture.width / across);
  const height = Math.ceil(picture.height / down);
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    const rows = Math.min(down, picture.height - y * down);
    const sums = new Uint32Array(width * 3);
    for (let i = 0; i < rows; i += 1) addCells(sums, picture.row(y * down + i), picture.width, across);
    for (let x = 0; x < width; x += 1) {
      const cells = rows * Math.min(across, picture.width - x * across);
      for (let at = x * 3; at < x * 3 + 3; at += 1) pixels[y * width * 3 + at] = mean(sums[at], cells);
    }
  }
  return fromPixels(pixels, width, height);
}

function addCells(sums, row, width, across) {
  for (let x = 0, from = 0, to = 0; x < width; x += across, to += 3) {
    const end = Math.min(x + across, width) * 3;
    for (; from < end; from += 3) {
      sums[to] += row[from];
      sums[to + 1] += row[from + 1];
      sums[to + 2] += row[from + 2];
    }
  }
}

// Averages rows and then columns as libvips does, with 8 bits between; of a last cell that is less
// than half in the picture nothing is left, and what another lacks is its edge again.
export function shrink(picture, across, down) {
  const { width, height } = picture;
  const columns = Math.floor(width / across + 0.5);
  const rows = Math.floor(height / down + 0.5);
  const pixels = new Uint8Array(columns * rows * 3);
  for (let y = 0; y < rows; y += 1) {
    const sums = new Uint32Array(width * 3);
    for (let i = 0; i < down; i += 1) {
      const row = picture.row(Math.min(y * down + i, height - 1));
      for (let at = 0; at < sums.length; at += 1) sums[at] += row[at];
    }
    for (let x = 0; x < columns; x += 1) {
      for (let band = 0; band < 3; band += 1) {
        let sum = 0;
        for (let i = 0; i < across; i += 1) sum += mean(sums[Math.min(x * across + i, width - 1) * 3 + band], down);
        pixels[(y * columns + x) * 3 + band] = mean(sum, across);
      }
    }
  }
  return fromPixels(pixels, columns, rows);
}

// By a multiplication with 24 bits behind the point, as both libraries divide.
function mean(sum, cells) {
  return Math.floor(((sum + (cells >> 1)) * Math.floor(2 ** 24 / cells)) / 2 ** 24);
}

export function fromPixels(pixels, width, height) {
  return { width, height, pixels, row: (y) => pixels.subarray(y * width * 3, (y + 1) * width * 3) };
}

// Columns first and then rows, with 8 bits between; or the other way round, where Pillow does.
function resize(picture, right, bottom, width, height) {
  const columns = weights(picture.width, right, width);
  const rows = weights(picture.height, bottom, height);
  const rowsFirst = picture.height - height > 2 * Math.max(picture.width - width, 0);
  return rowsFirst ? acrossOf(downOf(picture, rows), columns).pixels : downOf(acrossOf(picture, columns), rows).pixels;
}

function acrossOf(picture, columns) {
  if (columns === null) return whole(picture);
  const width = columns.length;
  const pixels = new Uint8Array(width * picture.height * 3);
  for (let y = 0, to = 0; y < picture.height; y += 1) {
    const row = picture.row(y);
    for (const { first, shares } of columns) {
      for (let band = 0; band < 3; band += 1, to += 1) {
        let sum = HALF;
        for (let k = 0; k < shares.length; k += 1) sum += row[(first + k) * 3 + band] * shares[k];
        pixels[to] = sum >> PRECISION;
      }
    }
  }
  return fromPixels(pixels, width, picture.height);
}

function downOf(picture, rows) {
  if (rows === null) return whole(picture);
  const { pixels: given, width } = whole(picture);
  const length = width * 3;
  const pixels = new Uint8Array(length * rows.length);
  rows.forEach(({ first, shares }, y) => {
    for (let x = 0; x < length; x += 1) {
      let sum = HALF;
      for (let k = 0; k < shares.length; k += 1) sum += given[(first + k) * length + x] * shares[k];
      pixels[y * length + x] = sum >> PRECISION;
    }
  });
  return fromPixels(pixels, width, rows.length);
}

function whole(picture) {
  if (picture.pixels) return picture;
  const { width, height } = picture;
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y += 1) pixels.set(picture.row(y), y * width * 3);
  return fromPixels(pixels, width, height);
}

// What each place of `size` takes from places of `length`, of which `end` are looked at; null
// where all stays as it is.
function weights(length, end, size) {
  if (length === size && end === size) return null;
  const scale = end / size;
  const spread = Math.max(scale, 1);
  return Array.from({ length: size }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - spread + 0.5), 0);
    const last = Math.min(Math.trunc(centre + spread + 0.5), length);
    const near = [];
    for (let at = first; at < last; at += 1) {
      near.push(Math.max(1 - Math.abs((at - centre + 0.5) / spread), 0));
    }
    const total = near.reduce((sum, share) => sum + share, 0);
    return { first, shares: Int32Array.from(near, (share) => Math.trunc(0.5 + (share / total) * 2 ** PRECISION)) };
  });
}
