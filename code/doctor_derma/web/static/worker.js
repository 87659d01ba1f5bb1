// The model in a worker of the page: pictures come in and answers go out, and nothing else.

import * as ort from "../runtime/ort.wasm.bundle.min.js";
import { answerOf } from "./answering.js";
import { decode, UnreadablePicture } from "./decoding.js";

const MODEL = "../model/";
const RUNTIME = "../runtime/";

const loaded = load();
loaded.then(({ bundle }) => postMessage({ model: bundle.model }), (error) => postMessage({ broken: error.message }));

// One picture after the other: each fills memory, and there is one processor for them.
let last = loaded.catch(() => null);
addEventListener("message", ({ data }) => {
  last = last.then(() => reply(data)).catch(() => null);
});

async function load() {
  const [wasm, graph, model, info] = await Promise.all([
    unpacked(`${RUNTIME}ort-wasm-simd-threaded.wasm.gz`),
    unpacked(`${MODEL}model.onnx.gz`),
    json(`${MODEL}description.json`),
    json(`${MODEL}model.json`),
  ]);
  await check(graph, model, info);
  Object.assign(ort.env.wasm, { wasmBinary: wasm, numThreads: 1 });
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  return { bundle: { model, info }, session };
}

// While a site is replaced, or from a cache, they may come from two versions of it.
async function check(graph, model, info) {
  if (!crypto.subtle) return; // Browsers have it with HTTPS and on localhost.
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", graph));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const told = [info.weights.sha256, model.weights_sha256];
  if (told.some((sha256) => sha256 !== found)) throw new Error("its files are of two versions");
}

async function reply({ id, file, rule, patient }) {
  try {
    const { bundle, session } = await loaded;
    const picture = await decode(file, bundle.info.input);
    const outputs = await run(session, bundle, picture.pixels);
    postMessage({ id, answer: answerOf(bundle, picture, outputs, rule, patient) });
  } catch (error) {
    postMessage({ id, problem: { ofPicture: error instanceof UnreadablePicture, detail: error.message } });
  }
}

async function run(session, { info }, pixels) {
  const { height, width } = info.input;
  const given = new ort.Tensor("uint8", pixels, [1, height, width, 3]);
  return await session.run({ images: given });
}

async function json(path) {
  return await (await fetched(path)).json();
}

// Some servers say that a .gz is packed, so that the browser has unpacked it already.
async function unpacked(path) {
  const bytes = new Uint8Array(await (await fetched(path)).arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function fetched(path) {
  const response = await fetch(new URL(path, import.meta.url), { cache: "no-cache" });
  if (!response.ok) throw new Error(`${path.replace("../", "")}: ${response.status}`);
  return response;
}
