// How pictures come in: chosen, taken with the camera, pasted or dropped.

import { byId } from "./dom.js";

export function takePictures(add) {
  for (const id of ["file", "camera"]) {
    byId(id).addEventListener("change", ({ target }) => {
      add([...target.files]);
      target.value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) add([...clipboardData.files]);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const files = [...event.dataTransfer.files];
    if (files.length) add(files);
    else byId("note").textContent = "What was dropped holds no file.";
  });
}
