// What the page asks about pictures, in the browser edition: a worker beside it, which nothing
// leaves. The server's edition has a file of this name with the same functions.

import { byId } from "./dom.js";

const UNREADABLE = "This file can't be classified.";

const worker = new Worker(new URL("../local/worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let count = 0;
let broken = null;

const model = new Promise((resolve) => {
  worker.addEventListener("message", ({ data }) => {
    if (data.model) resolve(data.model);
    else if (data.broken) fail(data.broken);
    else settle(data);
  });
  worker.addEventListener("error", ({ message }) => fail(message ?? "its worker does not start"));

  function fail(reason) {
    broken = reason;
    resolve(null);
    for (const id of waiting.keys()) settle({ id, problem: { detail: reason } });
  }
});

export const UNREACHABLE = "it can't be loaded into this browser.";

// Returns what GET /v1/model of a server tells, or null where the model can't be loaded.
export function describe() {
  return model;
}

// Returns { answer } or { problem } as the server's edition does.
export async function ask(file, { rule, patient, signal }) {
  // A folder, or a file that has gone, can't be read.
  const readable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
  if (!readable) return no("This file can't be read.", "It is a folder, or has moved or changed; choose it again.");
  if (broken) return failed(broken);
  count += 1;
  const id = count;
  const reply = new Promise((resolve) => waiting.set(id, resolve));
  // What nobody wants any more keeps no place.
  signal.addEventListener("abort", () => settle({ id, problem: { detail: "taken away" } }), { once: true });
  worker.postMessage({ id, file, rule, patient });
  const { answer, problem } = await reply;
  if (answer) return { answer };
  return problem.ofPicture ? no(UNREADABLE, `${problem.detail}.`) : failed(problem.detail);
}

function settle({ id, ...reply }) {
  waiting.get(id)?.(reply);
  waiting.delete(id);
}

function failed(reason) {
  return no("The network has failed in this browser.", `Load the page again (${reason}).`, { again: !broken });
}

function no(title, detail, help = {}) {
  return { problem: { title, detail, again: false, key: false, ...help } };
}

// Everything is kept for use without a connection, once it is here, and not before a picture that
// was chosen at once has its answer.

const QUIET_MILLISECONDS = 2000;

if ("serviceWorker" in navigator) {
  model.then((found) => new Promise((resolve) => setTimeout(resolve, QUIET_MILLISECONDS, found)))
    .then((found) => found && navigator.serviceWorker.register("service-worker.js"))
    .then((registration) => registration && navigator.serviceWorker.ready)
    .then((ready) => ready && (byId("offline").hidden = false))
    .catch(() => null); // Without it the page works all the same.
}
