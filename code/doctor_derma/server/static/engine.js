// What the page asks about pictures, and whom: the server. The browser edition has a file of this
// name with the same functions, see doctor_derma/web.

import { no, unreadable } from "./problems.js";

const MAX_BYTES = 20_000_000;
const MOST_REPEATS = 5;
const LONGEST_WAIT_SECONDS = 10;
const BUSY = new Set([429, 503]);

export const UNREACHABLE = "the server can't be reached.";

// Returns what GET /v1/model tells, or null where the server doesn't answer.
export async function describe() {
  try {
    const response = await fetch("v1/model");
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

// Returns what is done about a picture that was asked about.
export function activity() {
  return "Looking at the picture…";
}

// Returns { answer }, or { problem } as problems.js has it.
// onBusy is told { seconds, repeat, of } before each wait.
// rule is the decision rule, the server's own when null; patient has what is known of the person,
// as in { age: "50" }.
export async function ask(file, { key, rule, patient, signal, onBusy }) {
  if (file.size > MAX_BYTES) {
    return no("This picture is too large.", "It is over 20 MB; choose a smaller or more compressed one.");
  }
  // A folder, or a file that has gone, would look like a server that is down.
  const unread = await unreadable(file);
  if (unread) return unread;
  try {
    for (let repeat = 1; ; repeat += 1) {
      const response = await post(file, { key, rule, patient, signal });
      if (!BUSY.has(response.status) || repeat > MOST_REPEATS) return await outcome(response);
      const seconds = waitOf(response);
      onBusy({ seconds, repeat, of: MOST_REPEATS });
      await sleep(seconds, signal);
    }
  } catch {
    const advice = "See whether it is still running and you are connected, then try again.";
    return no("The server can't be reached.", advice, { again: true });
  }
}

function post(file, { key, rule, patient, signal }) {
  // The picture alone: its name stays here, and the server looks at the bytes, not at a type.
  const headers = { "Content-Type": "application/octet-stream" };
  if (key) headers["X-API-Key"] = key;
  const query = new URLSearchParams({ activation_map: "grid", ...(rule && { rule }), ...patient });
  return fetch(`v1/predict?${query}`, { method: "POST", body: file, headers, signal });
}

async function outcome(response) {
  // One that was cut off, or the login page of a network, throws: it did not come from the server.
  if (response.ok) return { answer: await response.json() };
  const { status } = response;
  const { detail, instance } = await response.json().catch(() => ({}));
  const said = detail ?? `The server answers ${status}.`;
  if (status === 401) return no("This server asks for an API key.", said, { key: true });
  if (BUSY.has(status)) {
    const asked = `It was asked ${MOST_REPEATS + 1} times. Try again in a minute.`;
    return no("The server is too busy.", asked, { again: true });
  }
  if (status >= 500) {
    const id = instance ? `, under the request ${instance}` : "";
    return no("The server has failed.", `It answers ${status}; its log says why${id}.`, { again: true });
  }
  if (status === 408) return no("The upload was too slow.", said, { again: true });
  return no(status === 413 ? "This picture is too large." : "This file can't be classified.", said);
}

function waitOf(response) {
  const asked = Number(response.headers.get("Retry-After"));
  return Math.min(asked > 0 ? Math.ceil(asked) : 1, LONGEST_WAIT_SECONDS);
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
