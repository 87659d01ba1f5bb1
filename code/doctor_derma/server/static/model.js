// The footer: which model answers, and how good it was on pictures it was not trained on.

import { byId } from "./dom.js";

const SPLITS = { test: "test", val: "validation" };
const METRICS = {
  macro_auc: "macro ROC AUC",
  balanced_accuracy: "balanced accuracy",
  accuracy: "accuracy",
};

// Returns the model, or null where the server doesn't tell.
export async function describeModel(paragraph) {
  try {
    const response = await fetch("v1/model");
    if (!response.ok) throw new Error(response.statusText);
    const model = await response.json();
    paragraph.textContent = sentence(model);
    byId("target").textContent = Math.round(100 * model.conformal.target);
    return model;
  } catch {
    paragraph.textContent = "Model: the server can't be reached.";
    return null;
  }
}

function sentence(model) {
  const trained = `Model: ${model.name} (${model.architecture}, run ${model.run.slice(0, 8)}), ` +
    `trained on ${model.data.name} (${model.data.licence}).`;
  const split = Object.keys(SPLITS).find((key) => model.metrics[key]);
  if (!split) return trained;
  const scores = Object.entries(METRICS)
    .filter(([key]) => key in model.metrics[split])
    .map(([key, name]) => `${name} ${model.metrics[split][key].toFixed(3)}`);
  return `${trained} On its ${SPLITS[split]} pictures: ${scores.join(", ")}.`;
}
