// The upload page: takes a picture, asks the server, shows the answer.

import { describeCertainty, describeFaults, verdict } from "./certainty.js";
import { drawEvidence, drawScale } from "./evidence.js";
import { describeModel } from "./model.js";

const MAX_BYTES = 20_000_000;
const byId = (id) => document.getElementById(id);
const show = (id, visible) => { byId(id).hidden = !visible; };

let current = null; // the chosen File
let pending = null; // AbortController of the question on its way

function choose(file) {
  if (!file) return;
  current = file;
  URL.revokeObjectURL(byId("preview").src);
  byId("preview").src = URL.createObjectURL(file);
  byId("preview").alt = `The chosen picture, ${file.name}`;
  byId("file-name").textContent = file.name;
  byId("drop").querySelector(".drop-title").textContent = "Choose another picture";
  document.body.classList.add("chosen");
  show("figure", true);
  show("no-preview", false);
  show("preview", true);
  ask();
}

async function ask() {
  pending?.abort();
  const mine = pending = new AbortController();
  for (const id of ["waiting", "answer", "error", "evidence", "overlay"]) show(id, false);
  if (current.size > MAX_BYTES) {
    fail("This picture is too large.", "It is over 20 MB; choose a smaller or more compressed one.", false);
    return;
  }
  show("busy", true);
  const form = new FormData();
  form.append("image", current);
  try {
    const response = await fetch("/predict", { method: "POST", body: form, signal: mine.signal });
    const body = await response.json().catch(() => ({}));
    if (mine.signal.aborted) return;
    if (response.ok) {
      await answer(body);
      byId("answer").scrollIntoView({ block: "nearest" });
    } else if (response.status < 500) {
      fail("This file can't be classified.", body.detail ?? `The server answers ${response.status}.`, false);
    } else {
      fail("The server has failed.", `It answers ${response.status}; its log says why.`, true);
    }
  } catch {
    if (mine.signal.aborted) return;
    fail("The server can't be reached.", "See whether derma serve is still running, then try again.", true);
  } finally {
    if (mine === pending) show("busy", false);
  }
}

function fail(title, detail, canRetry) {
  show("busy", false);
  show("no-preview", false);
  byId("error-title").textContent = title;
  byId("error-detail").textContent = detail;
  show("retry", canRetry);
  show("error", true);
  byId("error").scrollIntoView({ block: "nearest" });
}

async function answer(body) {
  byId("label").textContent = verdict(body);
  const possible = new Set(body.prediction_set);
  byId("bars").replaceChildren(...body.probabilities.map((row) => bar(row, possible.has(row.name))));
  byId("certainty").textContent = describeCertainty(body);
  byId("warnings").replaceChildren(
    ...describeFaults(body.warnings).map((sentence) => part("li", "", sentence)),
  );
  show("warnings", body.warnings.length > 0);
  show("unfamiliar", body.abstention === "unfamiliar");
  show("answer", true);
  byId("evidence-label").textContent = body.full_name;
  const picture = byId("preview");
  // A picture that the browser can't show has no place to draw the evidence on.
  const visible = await picture.decode().then(() => true, () => false);
  if (!visible) return;
  drawEvidence(byId("overlay"), body.activation_map, picture.naturalWidth / picture.naturalHeight);
  show("overlay", true);
  show("evidence", true);
}

function bar({ full_name: fullName, probability }, possible) {
  const item = document.createElement("li");
  const percent = 100 * probability;
  const name = part("span", "name", fullName);
  if (possible) name.append(" ", part("span", "mark", "possible"));
  item.append(
    name,
    part("span", "percent", percent < 0.1 ? "< 0.1 %" : `${percent.toFixed(1)} %`),
  );
  const track = part("div", "track", "");
  const fill = part("div", "fill", "");
  fill.style.width = `${percent}%`;
  track.append(fill);
  item.append(track);
  return item;
}

function part(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function setStrength() {
  byId("overlay").style.opacity = byId("strength").value / 100;
}

byId("file").addEventListener("change", (event) => {
  choose(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
byId("preview").addEventListener("load", ({ target }) => {
  byId("frame").style.setProperty("--aspect", target.naturalWidth / target.naturalHeight);
});
byId("preview").addEventListener("error", () => {
  show("preview", false);
  show("no-preview", true);
});
byId("retry").addEventListener("click", ask);
byId("strength").addEventListener("input", setStrength);
document.addEventListener("paste", (event) => choose(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  choose(event.dataTransfer.files[0]);
});

setStrength();
drawScale(byId("scale"));
describeModel(byId("model"));
