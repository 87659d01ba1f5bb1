// What the page asks about pictures, in the browser edition: a worker beside it, which nothing
// leaves. The server's edition has a file of this name with the same functions.

import { byId } from "./dom.js";
import { no, unreadable } from "./problems.js";

const UNREADABLE = "This file can't be classified.";

// A script of an address would have the policy that comes with it, which is none from a static
// host; a blob has that of the page, so that the worker can ask no other host either.
const script = new URL("../local/worker.js", import.meta.url).href;
const start = new Blob([`import ${JSON.stringify(script)};`], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(start), { type: "module" });
const waiting = new Map();
let count = 0;
let loaded = false;
let broken = null;

const model = new Promise((resolve) => {
  worker.addEventListener("message", ({ data }) => {
    if (data.model) {
      loaded = true;
      resolve(data.model);
    } else if (data.broken) fail(data.broken);
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

// Returns what is done about a picture that was asked about.
export function activity() {
  return loaded ? "Looking at the picture…" : "Loading the model…";
}

// Returns { answer } or { problem } as the server's edition does.
export async function ask(file, { rule, patient, signal }) {
  const unread = await unreadable(file);
  if (unread) return unread;
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
  return no("The model has failed in this browser.", `Load the page again (${reason}).`, { again: !broken });
}

// Everything is kept for use without a connection, once it is here, and not before a picture that
// was chosen at once has its answer.

const QUIET_MILLISECONDS = 2000;
const NEWER = "A newer version is available: reload the page.";

if ("serviceWorker" in navigator) {
  tellOfNewer(navigator.serviceWorker);
  model.then((found) => new Promise((resolve) => setTimeout(resolve, QUIET_MILLISECONDS, found)))
    .then((found) => found && navigator.serviceWorker.register("service-worker.js"))
    .then((registration) => registration && navigator.serviceWorker.ready)
    .then((ready) => ready && (byId("offline").hidden = false))
    .catch(() => null); // Without it the page works all the same.
}

function tellOfNewer(kept) {
  let { controller } = kept;
  kept.addEventListener("controllerchange", () => {
    // The first one keeps what the page has just loaded.
    if (controller) byId("note").textContent = NEWER;
    ({ controller } = kept);
  });
}
