// One answer in full: verdict, how sure, faults of the picture, ranked bars.

import { describeCertainty, describeFaults, verdict } from "./certainty.js";
import { byId, part, show } from "./dom.js";
import { meaningOf } from "./meanings.js";

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
