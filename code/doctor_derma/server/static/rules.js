// The decision rule: which kind of lesion the percentages make the answer.

import { byId, part, show } from "./dom.js";

const meanings = new Map();
let chosen = null; // The server's own.

export function currentRule() {
  return chosen;
}

// Offers what the model has; onChange is called when another rule is chosen.
export function offerRules({ rules, decision }, onChange) {
  for (const { name, meaning } of rules) meanings.set(name, meaning);
  byId("rules").append(...rules.map((rule) => choice(rule, rule.name === decision.default)));
  byId("rules").addEventListener("change", ({ target }) => {
    chosen = target.value;
    byId("rule-name").textContent = ruleTitle(chosen);
    onChange();
  });
  byId("rule-name").textContent = ruleTitle(decision.default);
  show("rule", true);
}

export function ruleTitle(name) {
  return name[0].toUpperCase() + name.slice(1).replaceAll("-", " ");
}

export function ruleMeaning(name) {
  return meanings.get(name) ?? "";
}

function choice({ name, meaning, expectation }, checked) {
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "rule", value: name, checked });
  const words = part("span", "", part("strong", "", ruleTitle(name)), `. ${meaning}`);
  if (expectation) words.append(part("span", "expectation", expectation));
  return part("label", "rule-choice", input, words);
}
