// The strip of pictures, when there are several: each with its short result.

import { verdict } from "./certainty.js";
import { byId, part, show } from "./dom.js";

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
