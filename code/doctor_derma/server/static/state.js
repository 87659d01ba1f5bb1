// What is shown of a picture until, or instead of, its answer.

import { byId, show } from "./dom.js";

export function showState({ state, busy, problem }) {
  const open = ["waiting", "asking", "busy"].includes(state);
  if (open) byId("busy").textContent = sentence(state, busy);
  show("busy", open);
  show("error", state === "failed");
  if (state !== "failed") return;
  byId("error-title").textContent = problem.title;
  byId("error-detail").textContent = problem.detail;
  show("retry", problem.again);
  const asked = !byId("key-form").hidden;
  show("key-form", problem.key);
  if (problem.key && !asked) byId("key").focus();
}

function sentence(state, busy) {
  if (state === "busy") {
    return `The server is busy. Asking again in ${busy.seconds} s (${busy.repeat} of ${busy.of}).`;
  }
  return state === "asking" ? "Looking at the picture…" : "Waiting for its turn…";
}
