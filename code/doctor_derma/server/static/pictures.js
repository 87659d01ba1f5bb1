// The pictures: how they come in, the strip of them, the one in the frame and its map of evidence.

import { verdict } from "./answer.js";
import { byId, part, show } from "./dom.js";

export function takePictures(add) {
  for (const id of ["file", "camera"]) {
    byId(id).addEventListener("change", ({ target }) => {
      add([...target.files]);
      target.value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) add([...clipboardData.files]);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const files = [...event.dataTransfer.files];
    if (files.length) add(files);
    else byId("note").textContent = "No file was dropped.";
  });
}

// The strip of pictures, when there are several: each with its short result.

const STATES = { waiting: "Waiting", asking: "Asking…", busy: "Server busy…" };

export function addThumbnail(entry, { onSelect, onRemove }) {
  const image = part("img", "");
  image.alt = "";
  image.decoding = "async";
  image.addEventListener("error", () => image.replaceWith(part("span", "no-image")));
  image.src = entry.url;
  const result = part("span", "short");
  const button = part("button", "thumbnail", image, part("span", "file", entry.file.name), result);
  button.type = "button";
  button.addEventListener("click", () => onSelect(entry));
  const away = part("button", "remove", "×");
  away.type = "button";
  away.setAttribute("aria-label", `Remove ${entry.file.name}`);
  away.addEventListener("click", () => onRemove(entry));
  const item = part("li", "", button, away);
  entry.thumbnail = { item, button, result };
  byId("strip").append(item);
}

export function removeThumbnail({ thumbnail }) {
  thumbnail.item.remove();
}

export function updateStrip(entries, shown) {
  for (const entry of entries) {
    const { button, item, result } = entry.thumbnail;
    result.textContent = short(entry);
    item.dataset.state = entry.state;
    if (entry === shown) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  const done = entries.filter(({ state }) => state === "answered").length;
  byId("progress").textContent = `${done} of ${entries.length} answered`;
  show("several", entries.length > 1);
}

function short({ state, answer, problem }) {
  if (state === "failed") return problem.title.replace(/\.$/, "");
  if (state !== "answered") return STATES[state];
  const { probability } = answer.probabilities.find(({ name }) => name === answer.label);
  const percent = Math.round(100 * probability);
  return answer.abstention ? verdict(answer) : `${percent} % ${verdict(answer)}`;
}

// The chosen picture, and over it the map of the evidence.

// Whether the browser can show the picture that is in the frame now.
let visible = false;

export async function showPicture({ file, url }) {
  const preview = byId("preview");
  visible = false;
  preview.src = url;
  preview.alt = `The chosen picture, ${file.name}`;
  byId("file-name").textContent = file.name;
  show("no-preview", false);
  show("preview", true);
  show("figure", true);
  const decoded = await preview.decode().then(() => true, () => false);
  if (preview.src !== url) return; // Another one was chosen meanwhile.
  visible = decoded;
  if (visible) byId("frame").style.setProperty("--aspect", aspect());
  show("preview", visible);
  show("no-preview", !visible);
}

// Returns the element that shows the picture; null while, or where, the browser can't show it.
export function visiblePicture() {
  return visible ? byId("preview") : null;
}

export function showEvidence({ state, answer }) {
  const drawn = state === "answered" && visible;
  show("overlay", drawn);
  show("evidence", drawn);
  if (!drawn) return;
  byId("evidence-label").textContent = answer.full_name;
  byId("overlay").setAttribute("aria-label", `Map of the evidence for ${answer.full_name}`);
  drawEvidence(byId("overlay"), answer.activation_map, aspect());
}

export function setStrength() {
  byId("overlay").style.opacity = byId("strength").value / 100;
  byId("strength").setAttribute("aria-valuetext", `${byId("strength").value} %`);
}

function aspect() {
  return byId("preview").naturalWidth / byId("preview").naturalHeight;
}

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
