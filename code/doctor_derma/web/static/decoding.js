// From an encoded picture to the pixels that a network sees, as images/decoding.py does it: PNG
// here, to the bit, and what else there is by the browser.

import { decodePng, isPng, LARGE_BYTES, onWhite, orientation, readChunks } from "./png.js";
import { fit, fromPixels, reduce, REDUCING_GAP, shrink } from "./resampling.js";

const MAX_PIXELS = 50_000_000;
// A large picture is made smaller by whole numbers first, with no side under what `leastSide` says.
const LEAST_SIDE = 1024;
const WEBP_BYTES = 32; // What a pixel of it takes there, see images/large_pictures.py.
// A picture of the browser's is copied out so many rows at a time.
const BAND_ROWS = 128;
const TRIED_SIDE = 16;

// By its first bytes, what a browser may not be able to read.
const KINDS = [
  [/^(II\*\0|MM\0\*)/, "TIFF"],
  [/^.{4}ftyp(hei[cxms]|hev[cx]|mif1|msf1)/s, "HEIC"],
  [/^.{4}ftypavi[fs]/s, "AVIF"],
  [/^(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/, "JPEG 2000"],
  [/^.{128}DICM/s, "DICOM"],
  [/^%PDF/, "PDF"],
];
const KNOWN = /^(\xff\xd8\xff|BM|GIF8|RIFF.{4}WEBP)/s;

export class UnreadablePicture extends Error {}

// Returns { pixels, width, height }: uint8 RGB at the size asked for, and the size it came with.
export async function decode(file, size) {
  if (file.size === 0) throw new UnreadablePicture("Empty file");
  const head = new Uint8Array(await file.slice(0, 200).arrayBuffer());
  const side = leastSide(size);
  const picture = isPng(head)
    ? await readPng(file, side)
    : await readByBrowser(file, side, String.fromCharCode(...head));
  try {
    const { width, height } = picture;
    return { pixels: fit(picture, size.height, size.width), width, height };
  } finally {
    picture.close?.();
  }
}

function leastSide(size) {
  return Math.min(REDUCING_GAP * Math.max(size.height, size.width), LEAST_SIDE);
}

function shrunk(picture, side) {
  const [across, down] = [picture.width, picture.height].map((each) => Math.max(Math.floor(each / side), 1));
  if (picture.kind === "JPEG") {
    // As its decoder does in Python, which knows halves, quarters and eighths.
    const factor = [8, 4, 2, 1].find((each) => each <= Math.min(across, down));
    return reduce(picture, factor, factor);
  }
  return picture.bytes > LARGE_BYTES ? shrink(picture, across, down) : picture;
}

async function readPng(file, side) {
  try {
    const png = readChunks(new Uint8Array(await file.arrayBuffer()));
    checkSize(png.width, png.height);
    // Colours of a profile are the browser's to convert.
    if (png.chunks.has("iCCP")) return await readByBrowser(file, side, "", png.bytes);
    return turned(shrunk({ ...(await decodePng(png)), bytes: png.bytes }, side), orientation(png.chunks));
  } catch (error) {
    if (error instanceof UnreadablePicture) throw error;
    throw new UnreadablePicture(`Corrupt or truncated picture (${error.message})`);
  }
}

// Upright, in sRGB by its profile; the first frame of several. head: the first bytes.
async function readByBrowser(file, side, head, known = 0) {
  // Multiplied by its alpha a picture would come rounded down.
  const image = await createImageBitmap(file, { premultiplyAlpha: "none" }).catch(() => null);
  if (image === null) throw new UnreadablePicture(reason(head));
  try {
    return { ...shrunk(drawn(image, head, known), side), close: () => image.close() };
  } catch (error) {
    image.close();
    throw error;
  }
}

// Returns what `shrunk` takes; rows come from the image, which is closed after the last one.
function drawn(image, head, known) {
  const { width, height } = image;
  checkSize(width, height);
  checkCanvas();
  const canvas = new OffscreenCanvas(width, Math.min(height, BAND_ROWS));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let band = null, start = -1;
  function row(y) {
    const first = y - (y % BAND_ROWS);
    if (first !== start) {
      context.clearRect(0, 0, width, canvas.height);
      context.drawImage(image, 0, -first);
      band = context.getImageData(0, 0, width, canvas.height).data;
      start = first;
    }
    return flat(band, (y - first) * width * 4, width);
  }
  const kind = head.startsWith("\xff\xd8") ? "JPEG" : "other";
  const bytes = /^RIFF/.test(head) ? width * height * WEBP_BYTES : known;
  return { width, height, row, kind, bytes };
}

// Some browsers change what a page reads from a canvas, as it would tell devices apart.
let isHonest = null;

function checkCanvas() {
  isHonest ??= readsAsDrawn();
  if (isHonest) return;
  const advice = "allow canvas here, or save the picture as PNG without a colour profile";
  throw new UnreadablePicture(`This browser hides pixels from pages: ${advice}`);
}

function readsAsDrawn() {
  const canvas = new OffscreenCanvas(TRIED_SIDE, TRIED_SIDE);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const given = context.createImageData(TRIED_SIDE, TRIED_SIDE);
  // Opaque, as the rest is rounded, and of many colours, as a plain one is left as it is.
  for (let at = 0; at < given.data.length; at += 1) given.data[at] = at % 4 === 3 ? 255 : (37 * at) % 256;
  context.putImageData(given, 0, 0);
  const read = context.getImageData(0, 0, TRIED_SIDE, TRIED_SIDE).data;
  return given.data.every((value, at) => value === read[at]);
}

// On white here, as the canvas itself would round down.
function flat(band, from, width) {
  const row = new Uint8Array(width * 3);
  for (let x = 0, to = 0; x < width; x += 1, from += 4, to += 3) {
    const alpha = band[from + 3];
    for (let i = 0; i < 3; i += 1) row[to + i] = alpha === 255 ? band[from + i] : onWhite(band[from + i], alpha);
  }
  return row;
}

function checkSize(width, height) {
  if (width * height > MAX_PIXELS) {
    const limit = MAX_PIXELS.toLocaleString("en");
    throw new UnreadablePicture(`${width}x${height} pixels: more than ${limit}, scale it down`);
  }
}

function reason(head) {
  if (KNOWN.test(head)) return "Corrupt or truncated picture";
  const kind = KINDS.find(([start]) => start.test(head))?.[1];
  return kind ? `This browser can't read ${kind}; save it as JPEG or PNG` : "Not a picture that can be read";
}

// Where a pixel comes from, by EXIF orientation (CIPA DC-008, 4.6.4): x and y of the upright
// picture, and the last column and row of the one in the file.
const SOURCES = {
  2: (x, y, right) => [right - x, y],
  3: (x, y, right, bottom) => [right - x, bottom - y],
  4: (x, y, right, bottom) => [x, bottom - y],
  5: (x, y) => [y, x],
  6: (x, y, right, bottom) => [y, bottom - x],
  7: (x, y, right, bottom) => [right - y, bottom - x],
  8: (x, y, right) => [right - y, x],
};

function turned(picture, orientation) {
  const source = SOURCES[orientation];
  if (!source) return picture;
  const rows = Array.from({ length: picture.height }, (_, y) => picture.row(y));
  const [width, height] = orientation > 4 ? [picture.height, picture.width] : [picture.width, picture.height];
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, to += 3) {
      const [column, row] = source(x, y, picture.width - 1, picture.height - 1);
      pixels.set(rows[row].subarray(column * 3, column * 3 + 3), to);
    }
  }
  return fromPixels(pixels, width, height);
}
