// The chosen picture, and over it the map of the evidence.

import { byId, show } from "./dom.js";
import { drawEvidence } from "./evidence.js";

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
