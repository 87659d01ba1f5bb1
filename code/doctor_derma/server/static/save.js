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
