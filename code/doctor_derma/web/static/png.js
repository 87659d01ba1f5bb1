// Reads a PNG as the package does, which takes colours and transparency as they stand in the file;
// a browser would apply gamma, cut 16 bits and lose colours where they are transparent.

// Channels by colour type (PNG specification, third edition, 11.2.1).
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const GREY = 0, COLOUR = 2, PALETTE = 3, GREY_ALPHA = 4;
// Columns and rows of the seven passes of Adam7: where they start, and how far they are apart.
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
// Fewer bits than a file of 16 has, see images/bit_depth.py.
const FEWER_BITS = [8, 10, 12];

export function isPng(bytes) {
  return SIGNATURE.every((value, i) => bytes[i] === value);
}

// What Pillow takes for a pixel, see images/large_pictures.py: of what is over a limit a smaller
// picture is made while it is read.
export const LARGE_BYTES = 24_000_000;
const BYTES = { plain: 4, grey: 5, clear: 20, deepGrey: 10, deepColour: 16, turned: 4, converted: 4 };

// Returns { width, height, depth, type, interlaced, bytes, chunks }: what IHDR says, the bytes that
// the picture takes, and by their names the contents of all chunks.
export function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = new Map();
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) break; // Cut: what is missing is missed below.
    if (!chunks.has(name)) chunks.set(name, []);
    chunks.get(name).push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const ihdr = chunks.get("IHDR")?.[0];
  if (ihdr?.length !== 13 || !chunks.has("IDAT")) throw new Error("damaged header");
  const sizes = new DataView(ihdr.buffer, ihdr.byteOffset, 13);
  const width = sizes.getUint32(0), height = sizes.getUint32(4), depth = ihdr[8], type = ihdr[9];
  if (!CHANNELS[type] || ![1, 2, 4, 8, 16].includes(depth) || !width || !height) throw new Error("damaged header");
  const cost = width * height * pixelCost(type, depth, chunks);
  return { width, height, depth, type, interlaced: ihdr[12] === 1, bytes: cost, chunks };
}

function pixelCost(type, depth, chunks) {
  // EXIF behind the pixels turns a picture as well, but Python counts before it has read them.
  const names = [...chunks.keys()];
  const isTurned = names.indexOf("eXIf") < names.indexOf("IDAT") && orientation(chunks) !== 1;
  const converted = chunks.has("iCCP") ? BYTES.converted : 0;
  return storedCost(type, depth, chunks) + (isTurned ? BYTES.turned : 0) + converted;
}

function storedCost(type, depth, chunks) {
  const deep = depth === 16 && type !== GREY ? BYTES.deepColour : 0;
  if (type > PALETTE || chunks.has("tRNS")) return BYTES.clear + deep;
  if (type === COLOUR) return BYTES.plain + deep;
  return depth === 16 ? BYTES.deepGrey : BYTES.grey;
}

// Returns { width, height, row(y) } with 3 bytes a pixel, on white where it is transparent.
export async function decodePng(png) {
  const raw = await inflate(png.chunks.get("IDAT"));
  const samples = png.interlaced ? weave(png, raw) : straight(png, raw);
  return { width: png.width, height: png.height, row: painter(png, samples) };
}

async function inflate(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Both return samples(y), the samples of a row as they are stored, one a place: of 16 bits in 16.

function straight(png, raw) {
  const length = rowBytes(png, png.width);
  const lines = unfilter(raw, 0, png.height, length, pixelBytes(png));
  return (y) => unpack(png, lines.subarray(y * length, (y + 1) * length), png.width);
}

function weave(png, raw) {
  const channels = CHANNELS[png.type];
  const all = new Uint16Array(png.width * png.height * channels);
  let from = 0;
  for (const [left, top, across, down] of PASSES) {
    const width = Math.ceil((png.width - left) / across);
    const height = Math.ceil((png.height - top) / down);
    if (width <= 0 || height <= 0) continue;
    const length = rowBytes(png, width);
    const lines = unfilter(raw, from, height, length, pixelBytes(png));
    from += height * (length + 1);
    for (let y = 0; y < height; y += 1) {
      const row = unpack(png, lines.subarray(y * length, (y + 1) * length), width);
      const start = (top + y * down) * png.width + left;
      for (let x = 0; x < width; x += 1) {
        for (let band = 0; band < channels; band += 1) {
          all[(start + x * across) * channels + band] = row[x * channels + band];
        }
      }
    }
  }
  const length = png.width * channels;
  return (y) => all.subarray(y * length, (y + 1) * length);
}

function rowBytes({ type, depth }, width) {
  return Math.ceil((width * CHANNELS[type] * depth) / 8);
}

function pixelBytes({ type, depth }) {
  return Math.max(1, (CHANNELS[type] * depth) >> 3);
}

// Undoes the filter of each line (9.2 of the specification), a copy without the filters' bytes.
function unfilter(raw, from, height, length, step) {
  if (raw.length < from + height * (length + 1)) throw new Error("image file is truncated");
  const lines = new Uint8Array(height * length);
  for (let y = 0; y < height; y += 1) {
    const start = from + y * (length + 1);
    const to = y * length;
    lines.set(raw.subarray(start + 1, start + 1 + length), to);
    const before = (x) => (x >= step ? lines[to + x - step] : 0);
    const above = (x) => (y ? lines[to + x - length] : 0);
    switch (raw[start]) {
      case 0: break;
      case 1:
        for (let x = step; x < length; x += 1) lines[to + x] += lines[to + x - step];
        break;
      case 2:
        if (y) for (let x = 0; x < length; x += 1) lines[to + x] += lines[to + x - length];
        break;
      case 3:
        for (let x = 0; x < length; x += 1) lines[to + x] += (before(x) + above(x)) >> 1;
        break;
      case 4:
        for (let x = 0; x < length; x += 1) {
          lines[to + x] += paeth(before(x), above(x), y && x >= step ? lines[to + x - length - step] : 0);
        }
        break;
      default: throw new Error("unknown filter");
    }
  }
  return lines;
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const byLeft = Math.abs(guess - left), byUp = Math.abs(guess - up), byCorner = Math.abs(guess - corner);
  if (byLeft <= byUp && byLeft <= byCorner) return left;
  return byUp <= byCorner ? up : corner;
}

function unpack({ type, depth }, line, width) {
  const count = width * CHANNELS[type];
  if (depth === 8) return line;
  if (depth === 16) return Uint16Array.from({ length: count }, (_, i) => (line[2 * i] << 8) | line[2 * i + 1]);
  const most = (1 << depth) - 1;
  return Uint8Array.from({ length: count }, (_, i) => {
    const bit = i * depth;
    return (line[bit >> 3] >> (8 - depth - (bit & 7))) & most;
  });
}

// Returns row(y), RGB on white.
function painter(png, samples) {
  const { type, depth, width, chunks } = png;
  if (type === COLOUR && depth === 8 && !chunks.has("tRNS")) return samples;
  const channels = CHANNELS[type];
  const grey = type === GREY || type === GREY_ALPHA;
  const level = levels(png, samples);
  const palette = type === PALETTE ? paletteOf(chunks) : null;
  const clear = chunks.get("tRNS")?.[0];
  const lay = png.bytes > LARGE_BYTES ? onWhiteRoundedDown : onWhite;
  const absent = clear && !palette ? transparentSamples(clear, grey) : null;

  function alphaOf(row, at) {
    if (palette) return clear && row[at] < clear.length ? clear[row[at]] : 255;
    if (channels === 2 || channels === 4) {
      const alpha = row[at + channels - 1];
      return depth === 16 ? alpha >> 8 : alpha;
    }
    return absent && absent.every((value, band) => row[at + band] === value) ? 0 : 255;
  }

  return (y) => {
    const row = samples(y);
    const out = new Uint8Array(width * 3);
    const mayBeClear = clear || channels === 2 || channels === 4;
    for (let x = 0; x < width; x += 1) {
      const at = x * channels;
      const alpha = mayBeClear ? alphaOf(row, at) : 255;
      for (let band = 0; band < 3; band += 1) {
        const value = palette ? palette[row[at] * 3 + band] ?? 0 : level(row[at + (grey ? 0 : band)]);
        out[x * 3 + band] = alpha === 255 ? value : lay(value, alpha);
      }
    }
    return out;
  };
}

function paletteOf(chunks) {
  const palette = chunks.get("PLTE")?.[0];
  if (!palette) throw new Error("no palette");
  return palette;
}

function transparentSamples(clear, grey) {
  const view = new DataView(clear.buffer, clear.byteOffset, clear.byteLength);
  return (grey ? [0] : [0, 2, 4]).map((at) => view.getUint16(at));
}

// Returns what turns a sample into 8 bits. Cameras of 10 and 12 bits fill no more of 16.
function levels({ type, depth, height }, samples) {
  if (depth < 8) return (value) => value * (255 / (2 ** depth - 1));
  if (depth === 8) return (value) => value;
  const colours = CHANNELS[type] - (type === GREY_ALPHA || type === 6 ? 1 : 0);
  let most = 0;
  for (let y = 0; y < height; y += 1) {
    const row = samples(y);
    for (let at = 0; at < row.length; at += CHANNELS[type]) {
      for (let band = 0; band < colours; band += 1) most = Math.max(most, row[at + band]);
    }
  }
  const bits = FEWER_BITS.find((few) => most < 2 ** few) ?? 16;
  if (type === GREY) return (value) => Math.min(Math.floor((value * 255) / (2 ** bits - 1)), 255);
  if (bits < 16 && type === GREY_ALPHA) {
    throw new Error(`${bits} bits in a file of 16, black to most programs: save it in 8`);
  }
  return (value) => (value >> (bits - 8)) & 255;
}

// Pillow's alpha_composite over opaque white, which has 7 bits behind the point.
export function onWhite(value, alpha) {
  const front = alpha * 128;
  const sum = value * front + 255 * (255 * 128 - front) + 0x4000;
  return (((sum >> 8) + sum) >> 8) >> 7;
}

// That of libvips, which Python reads large pictures with.
function onWhiteRoundedDown(value, alpha) {
  return Math.floor((value * alpha) / 255) + 255 - alpha;
}

// Returns the EXIF orientation, 1 where there is none that can be read (CIPA DC-008, 4.6.4).
export function orientation(chunks) {
  const exif = chunks.get("eXIf")?.[0];
  try {
    const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
    const little = view.getUint16(0) === 0x4949;
    const directory = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(directory, little); i += 1) {
      const entry = directory + 2 + 12 * i;
      if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
    }
  } catch { /* None, or damaged: both count as upright. */ }
  return 1;
}
