// The upload page: pictures come in, the engine is asked about each, one of them is shown.

import { showAnswer, showState, verdict } from "./answer.js";
import { currentKey, inTurn, onKey } from "./ask.js";
import { byId, show } from "./dom.js";
import { ask } from "./engine.js";
import { currentPatient, currentRule, describeModel, offerPatient, offerRules } from "./model.js";
import {
  addThumbnail, drawScale, removeThumbnail, setStrength, showEvidence, showPicture, takePictures, updateStrip,
  visiblePicture,
} from "./pictures.js";
import { fillReport, saveReport } from "./report.js";

const MOST_PICTURES = 100;
const TITLE = document.title;

// An entry is a picture and what became of it:
// state is waiting, asking, busy, answered or failed.
const entries = [];
let shown = null;

function add(files) {
  const room = MOST_PICTURES - entries.length;
  byId("note").textContent = files.length > room
    ? `At most ${MOST_PICTURES} pictures at a time; ${files.length - room} were left out.`
    : "";
  const added = files.slice(0, room).map((file) => ({
    file,
    url: URL.createObjectURL(file),
    state: "waiting",
    stop: new AbortController(),
  }));
  if (!added.length) return;
  entries.push(...added);
  for (const entry of added) addThumbnail(entry, { onSelect: select, onRemove: remove });
  byId("file-label").textContent = "Add pictures";
  document.body.classList.add("chosen");
  select(added[0]);
  added.forEach(askInTurn);
}

const askInTurn = inTurn(async (entry) => {
  if (entry.stop.signal.aborted) return;
  change(entry, { state: "asking", problem: null, answer: null });
  const [rule, patient] = [currentRule(), currentPatient()];
  const outcome = await ask(entry.file, {
    key: currentKey(),
    rule,
    patient,
    signal: entry.stop.signal,
    onBusy: (busy) => change(entry, { state: "busy", busy }),
  });
  if (entry.stop.signal.aborted) return;
  if (rule !== currentRule() || patient !== currentPatient()) return askInTurn(entry); // Meanwhile.
  if (outcome.answer) {
    change(entry, { state: "answered", answer: outcome.answer, answeredAt: new Date() });
    speak(entry, verdict(outcome.answer));
  } else {
    change(entry, { state: "failed", problem: outcome.problem });
    speak(entry, `${outcome.problem.title} ${outcome.problem.detail}`);
  }
  if (entry === shown && entries.length === 1) {
    byId(outcome.answer ? "answer" : "error").scrollIntoView({ block: "nearest" });
  }
});

function askAgain(which) {
  byId("result-title").focus(); // What had the focus is about to go.
  askAbout(entries.filter(({ problem }) => problem?.[which]));
}

function askAbout(some) {
  for (const entry of some) {
    change(entry, { state: "waiting", problem: null });
    askInTurn(entry);
  }
}

function change(entry, news) {
  Object.assign(entry, news);
  updateStrip(entries, shown);
  if (entry === shown) render();
}

function select(entry) {
  const another = shown !== entry;
  shown = entry;
  updateStrip(entries, shown);
  if (another) showPicture(entry).then(() => entry === shown && render());
  render();
}

function remove(entry) {
  const place = entries.indexOf(entry);
  entries.splice(place, 1);
  entry.stop.abort();
  URL.revokeObjectURL(entry.url);
  removeThumbnail(entry);
  const next = entries[place] ?? entries[place - 1];
  if (!next) return clear();
  select(entry === shown ? next : shown);
  const { button } = next.thumbnail;
  (button.offsetParent ? button : byId("file")).focus();
}

function clear() {
  shown = null;
  updateStrip(entries, shown);
  document.body.classList.remove("chosen");
  byId("file-label").textContent = "Choose pictures";
  for (const id of ["figure", "evidence", "busy", "error", "answer"]) show(id, false);
  byId("report").replaceChildren();
  show("empty", true);
  document.title = TITLE;
  byId("file").focus();
}

function render() {
  show("empty", false);
  showState(shown);
  showEvidence(shown);
  show("answer", shown.state === "answered");
  document.title = `${shown.file.name} · ${TITLE}`;
  byId("report").replaceChildren();
  if (shown.state !== "answered") return;
  showAnswer(shown.answer);
  fillReport(byId("report"), shown, visiblePicture());
}

function speak({ file }, sentence) {
  const open = entries.filter(({ state }) => state !== "answered" && state !== "failed").length;
  const rest = open ? ` ${open} to go.` : "";
  byId("spoken").textContent = `${file.name}: ${sentence}.${rest}`.replace("..", ".");
}

takePictures(add);
onKey(() => askAgain("key"));
byId("retry").addEventListener("click", () => askAgain("again"));
byId("remove-all").addEventListener("click", () => entries.toReversed().forEach(remove));
byId("strength").addEventListener("input", setStrength);
byId("print").addEventListener("click", () => window.print());
byId("save").addEventListener("click", () => saveReport(byId("report"), shown.file.name));
setStrength();
drawScale(byId("scale"));
describeModel(byId("model")).then((model) => {
  if (shown) showState(shown);
  if (!model) return;
  const askAllAgain = () => askAbout(entries.filter(({ state }) => state === "answered"));
  offerRules(model, askAllAgain);
  offerPatient(model, askAllAgain);
});
