// One answer in full: verdict, how sure, faults of the picture, ranked bars; or what is shown instead.

import { byId, part, show } from "./dom.js";
import { activity } from "./engine.js";

export function showAnswer(answer) {
  const possible = new Set(answer.prediction_set);
  byId("label").textContent = verdict(answer);
  byId("certainty").textContent = describeCertainty(answer);
  byId("bars").replaceChildren(
    ...answer.probabilities.map((row) => {
      const called = row.name === answer.label;
      return part("li", called ? "called" : "", bar(row, marksOf(row, answer), possible.has(row.name)));
    }),
  );
  byId("warnings").replaceChildren(
    ...describeFaults(answer.warnings).map((sentence) => part("li", "", sentence)),
  );
  show("warnings", answer.warnings.length > 0);
  const unfamiliar = answer.abstention === "unfamiliar";
  show("unfamiliar", unfamiliar);
  byId("bars").classList.toggle("doubtful", unfamiliar);
}

export function percentText(probability) {
  return probability < 0.001 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

export function marksOf({ name }, { label, prediction_set: possible, probabilities }) {
  const marks = possible.includes(name) ? ["possible"] : [];
  // Of the most probable one there is no need to say it.
  return name === label && name !== probabilities[0].name ? [...marks, "by the rule"] : marks;
}

// A class that the page can explain opens to its meaning.
function bar({ name, full_name: fullName, probability }, marks, possible) {
  const title = part("span", "name", fullName);
  for (const mark of marks) title.append(" ", part("span", "mark", mark));
  const fill = part("span", possible ? "fill possible" : "fill");
  fill.style.width = `${100 * probability}%`;
  const row = [
    title,
    part("span", "percent", percentText(probability)),
    part("span", "track", fill),
  ];
  const meaning = meaningOf(name);
  if (!meaning) return part("div", "bar", ...row);
  return part("details", "bar", part("summary", "", ...row), part("p", "meaning", meaning));
}

// How sure the network is, and what is wrong with a picture, in sentences.

const FAULTS = {
  dark: "The picture is darker than nearly all that the network was trained on.",
  bright: "The picture is brighter than nearly all that the network was trained on.",
  blurred: "The picture is blurred, or shows next to no detail.",
  small: "The picture has fewer pixels than the network looks at.",
};

export function describeFaults(faults) {
  return faults.map((fault) => FAULTS[fault]);
}

export function verdict({ abstention, full_name: fullName }) {
  return { unfamiliar: "No answer", unsure: "Not sure" }[abstention] ?? fullName;
}

export function describeCertainty({ abstention, full_name: fullName, prediction_set: possible, probabilities }) {
  if (abstention === null) {
    return "It rules out the other kinds.";
  }
  const first = probabilities[0].full_name;
  const agreed = first === fullName;
  if (abstention === "unfamiliar") {
    const known = "Of the kinds it knows,";
    return agreed
      ? `${known} ${fullName} is the most probable.`
      : `${known} its rule calls ${fullName}, though ${first} is more probable.`;
  }
  const all = possible.length === probabilities.length;
  const out = all ? "none of the kinds below" : `only ${probabilities.length - possible.length} of the ${probabilities.length} kinds below`;
  return agreed
    ? `${fullName} is the most probable, but it can rule out ${out}.`
    : `Its rule calls ${fullName}, though ${first} is more probable, and it can rule out ${out}.`;
}

// What each class is, for people who are no dermatologists. A class of another data set has none.

const MEANINGS = {
  akiec:
    "Actinic keratosis is a rough patch on skin that has had much sun; a small share of them " +
    "become squamous cell carcinoma in time. Bowen's disease is such a cancer at its earliest, " +
    "still only in the top layer of the skin. Both can be treated well, and a doctor should see them.",
  bcc:
    "The most common skin cancer. It grows slowly and very rarely spreads to the rest of the body, " +
    "but it does not go away by itself and can damage what lies around it, so it is treated.",
  bkl:
    "Harmless growths and spots that come with age and sun: seborrhoeic keratosis, solar lentigo and " +
    "lichen-planus-like keratosis. They are not cancer, but some look much like a melanoma.",
  df:
    "A small, firm, harmless nodule in the skin, often on the lower leg. It seldom needs treatment.",
  mel:
    "A cancer of the cells that make the skin's pigment. It can spread to the rest of the body, and " +
    "found early it can most often be cured by cutting it out. Let a doctor see a suspicion soon, " +
    "whatever a program says.",
  nv:
    "A mole: a harmless group of cells that make pigment. Most people have several. Show one to a doctor " +
    "if it changes, bleeds, is new and growing, or looks unlike your others.",
  vasc:
    "Made of blood vessels or blood: haemangiomas such as cherry-red spots, angiokeratomas, pyogenic " +
    "granulomas and bleeding in the skin. Most are harmless; one that bleeds or grows fast should be seen.",
};

export function meaningOf(name) {
  return Object.hasOwn(MEANINGS, name) ? MEANINGS[name] : null;
}

// What is shown of a picture until, or instead of, its answer.

export function showState({ state, busy, problem }) {
  const open = ["waiting", "asking", "busy"].includes(state);
  if (open) byId("busy").textContent = sentence(state, busy);
  show("busy", open);
  const failed = state === "failed";
  show("error", failed);
  const asked = !byId("key-form").hidden;
  show("key-form", failed && problem.key);
  if (!failed) return;
  byId("error-title").textContent = problem.title;
  byId("error-detail").textContent = problem.detail;
  show("retry", problem.again);
  if (problem.key && !asked) byId("key").focus();
}

function sentence(state, busy) {
  if (state === "busy") {
    return `The server is busy. Asking again in ${busy.seconds} s (${busy.repeat} of ${busy.of}).`;
  }
  return state === "asking" ? activity() : "Waiting for its turn…";
}
