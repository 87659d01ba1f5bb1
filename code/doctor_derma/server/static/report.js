// The report of one picture: what is printed, and what is saved as a file.

import { describeCertainty, describeFaults, marksOf, percentText, verdict } from "./answer.js";
import { byId, part } from "./dom.js";
import { ruleMeaning, ruleTitle } from "./model.js";
import { drawEvidence } from "./pictures.js";

const LONG_SIDE = 900;
const MAP_STRENGTH = 0.5;
const UNFAMILIAR = "The network does not know this kind of picture; what it says is worth little.";

// image: the element that shows the picture; null while, or where, the browser can't show it.
export function fillReport(article, entry, image) {
  const { answer, answeredAt, file } = entry;
  article.replaceChildren(
    part("p", "report-notice", part("strong", "", answer.notice),
      " It is for research and teaching. Show a skin change that worries you to a doctor."),
    part("h1", "", "Doctor Derma"),
    figures(image, answer),
    part("p", "report-answer", "The network's answer: ", part("strong", "", verdict(answer))),
    ...(answer.abstention === "unfamiliar" ? [part("p", "", part("strong", "", UNFAMILIAR))] : []),
    part("p", "", describeCertainty(answer)),
    ...describeFaults(answer.warnings).map((sentence) => part("p", "", `Warning: ${sentence}`)),
    table(answer),
    part("p", "report-small", "Possible: can't be ruled out. Of pictures like those the network was " +
      `tuned on, the true kind is among these for ${byId("target").textContent} of 100. The percentages ` +
      "are shared among the kinds that the network knows; they are not the chance of a disease."),
    facts({
      Picture: file.name,
      "Date of the answer": answeredAt.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "long" }),
      "Decision rule": `${ruleTitle(answer.rule)}. ${ruleMeaning(answer.rule)}`,
      ...(answer.patient_data.length && { "Weighed beside the picture": answer.patient_data.join(", ") }),
      Model: answer.model.name,
      Run: answer.model.run,
      "SHA-256 of the weights": answer.model.weights_sha256,
    }),
    part("p", "report-notice", part("strong", "", answer.notice)),
  );
}

function figures(image, answer) {
  const row = part("div", "report-figures");
  if (!image) return row;
  const scale = Math.min(1, LONG_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  const plain = part("canvas", "");
  plain.width = Math.round(image.naturalWidth * scale) || 1;
  plain.height = Math.round(image.naturalHeight * scale) || 1;
  plain.getContext("2d").drawImage(image, 0, 0, plain.width, plain.height);
  const map = part("canvas", "");
  drawEvidence(map, answer.activation_map, image.naturalWidth / image.naturalHeight);
  const mixed = part("canvas", "");
  mixed.width = plain.width;
  mixed.height = plain.height;
  const context = mixed.getContext("2d");
  context.drawImage(plain, 0, 0);
  context.globalAlpha = MAP_STRENGTH;
  context.drawImage(map, 0, 0, mixed.width, mixed.height);
  row.append(
    part("figure", "", plain, part("figcaption", "", "The picture")),
    part("figure", "", mixed,
      part("figcaption", "", `Evidence for ${answer.full_name}, from less (dark blue) to more (yellow)`)),
  );
  return row;
}

function table(answer) {
  const rows = answer.probabilities.map((row) => part("tr", row.name === answer.label ? "called" : "",
    part("th", "", row.full_name),
    part("td", "", percentText(row.probability)),
    bar(row.probability),
    part("td", "", marksOf(row, answer).join(", ")),
  ));
  for (const row of rows) row.firstChild.scope = "row";
  return part("table", "", part("tbody", "", ...rows));
}

// Drawn, as browsers print no backgrounds unless they are told to.
function bar(probability) {
  const cell = part("td", "report-bar");
  cell.innerHTML = `<svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
    <rect class="report-track" width="100" height="6"/>
    <rect class="report-fill" width="${100 * probability}" height="6"/>
  </svg>`;
  return cell;
}

function facts(named) {
  return part("dl", "", ...Object.entries(named).flatMap(([name, value]) => [
    part("dt", "", name), part("dd", "", value),
  ]));
}

// Saves the report as one HTML file that needs nothing else.

const STYLE_SHEET = "/static/report.css";
// The file loads and runs nothing, whatever a file name may hold.
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

export function saveReport(article, fileName) {
  const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>Report by Doctor Derma: not a diagnosis</title>
<style>
${styles()}
</style>
</head>
<body>
${frozen(article).outerHTML}
</body>
</html>
`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  link.download = `doctor-derma-${fileName.replace(/\.[^.]*$/, "")}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Read from the page, so that a report can be saved when the server has gone.
function styles() {
  const sheet = [...document.styleSheets].find(({ href }) => href?.endsWith(STYLE_SHEET));
  return [...sheet.cssRules].map(({ cssText }) => cssText).join("\n");
}

// A copy whose canvases are images. It belongs to a template, where images are not loaded.
function frozen(article) {
  const { ownerDocument } = document.createElement("template").content;
  const copy = ownerDocument.importNode(article, true);
  const drawn = article.querySelectorAll("canvas");
  copy.querySelectorAll("canvas").forEach((canvas, place) => {
    const image = ownerDocument.createElement("img");
    image.src = drawn[place].toDataURL("image/jpeg", 0.9);
    image.alt = canvas.nextSibling.textContent;
    canvas.replaceWith(image);
  });
  return copy;
}
