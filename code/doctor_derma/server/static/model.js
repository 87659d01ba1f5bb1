// The model: which one answers, how good it was, and the decision rules that it offers.

import { byId, part, show } from "./dom.js";
import { describe, UNREACHABLE } from "./engine.js";

const SPLITS = { test: "test", val: "validation" };
const METRICS = {
  macro_auc: "macro ROC AUC",
  balanced_accuracy: "balanced accuracy",
  accuracy: "accuracy",
};

// Returns the model, or null where nobody tells.
export async function describeModel(paragraph) {
  const model = await describe();
  paragraph.textContent = model ? sentence(model) : `Model: ${UNREACHABLE}`;
  if (model) byId("target").textContent = Math.round(100 * model.conformal.target);
  return model;
}

function sentence(model) {
  // MLflow's ids are long; other runs have a name.
  const run = model.run.replace(/^([0-9a-f]{8})[0-9a-f]+$/, "$1");
  const trained = `Model: ${model.name} (${model.architecture}, run ${run}), ` +
    `trained on ${model.data.name} (${model.data.licence}).`;
  const split = Object.keys(SPLITS).find((key) => model.metrics[key]);
  if (!split) return trained;
  const scores = Object.entries(METRICS)
    .filter(([key]) => key in model.metrics[split])
    .map(([key, name]) => `${name} ${model.metrics[split][key].toFixed(3)}`);
  return `${trained} On its ${SPLITS[split]} pictures: ${scores.join(", ")}.`;
}

// The decision rule: which kind of lesion the percentages make the answer.

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

// What is known of the person, for a model that takes it: kept for this page alone.

let patient = {};

export function currentPatient() {
  return patient;
}

// Offers age, sex and site; onChange is called when another is given.
export function offerPatient({ patient_sites: sites }, onChange) {
  if (!sites) return;
  byId("site").append(...sites.map((name) => new Option(name)));
  byId("patient").addEventListener("change", () => {
    byId("age").reportValidity();
    const given = ["age", "sex", "site"].map((id) => byId(id)).filter(({ validity, value }) => validity.valid && value);
    patient = Object.fromEntries(given.map(({ id, value }) => [id, value]));
    onChange();
  });
  show("patient", true);
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
