// From what the graph gives to an answer in the server's words: the decision rules of
// decisions.py, the sets of inference/conformal.py, and what quality.py and alignment.py do.

const LUMA = [0.299, 0.587, 0.114];
const MELANOMA = "mel";
const [MIDDLE_AGE, AGE_UNIT] = [50, 20]; // In years.
const SEXES = ["female", "male"];
const SMALLEST = 2 ** -126; // Of a float32; what it can't hold is 0.

// model: what GET /v1/model tells; info: the bundle's model.json.
// picture: { pixels, width, height }; outputs: the graph's, as { data, dims } by their names;
// patient: what is known of the person, as in { age: "50", site: "back" }.
export function answerOf({ model, info }, picture, outputs, rule, patient = {}) {
  const weighed = info.patient ? Object.keys(patient) : [];
  const probabilities = weighed.length ? withPatient(info.patient, outputs.probabilities.data, patient) : outputs.probabilities.data;
  const called = decide(info, probabilities, rule ?? info.decision.default);
  const ranked = ranking(probabilities);
  const { conformal } = weighed.length ? info.patient : info;
  const possible = predictionSet(conformal, probabilities, ranked, called);
  const unfamiliarity = outputs.unfamiliarity.data[0];
  const { name, full_name } = info.classes[called];
  return {
    label: name,
    full_name,
    rule: rule ?? info.decision.default,
    prediction_set: possible.map((index) => info.classes[index].name),
    abstention: unfamiliarity > 1 ? "unfamiliar" : possible.length > 1 ? "unsure" : null,
    unfamiliarity,
    warnings: warningsOf(info, picture),
    patient_data: weighed,
    model: { name: model.name, run: model.run, weights_sha256: model.weights_sha256 },
    notice: model.notice,
    probabilities: ranked.map((index) => ({
      ...info.classes[index],
      probability: Math.min(probabilities[index], 1),
      index,
    })),
    activation_map: alignedMap(info, outputs.activation_maps, called),
    activation_map_png: null,
  };
}

// As inference/patient.py does it.
function withPatient({ sites, weights }, probabilities, { age, sex, site }) {
  const years = age === undefined ? 0 : (Number(age) - MIDDLE_AGE) / AGE_UNIT;
  const columns = [years, years ** 2, ...SEXES.map((one) => Number(one === sex)), ...sites.map((one) => Number(one === site))];
  const added = weights[0].map((_, k) => sum(columns, (value, row) => value * weights[row][k]));
  const most = Math.max(...added);
  const scaled = Array.from(probabilities, (value, k) => value * Math.exp(added[k] - most));
  const total = sum(scaled, (value) => value);
  return scaled.map((value) => value / total);
}

function ranking(probabilities) {
  return [...probabilities.keys()].sort((one, other) => probabilities[other] - probabilities[one] || one - other);
}

// Returns the index of the class that the rule calls.
function decide(info, probabilities, rule) {
  if (rule === "most-probable") return greatest(probabilities);
  const names = info.classes.map(({ name }) => name);
  if (rule === "costs") {
    const cost = (from, to) => info.decision.costs[names[from]]?.[names[to]] ?? (from === to ? 0 : 1);
    return greatest(names.map((_, to) => -sum(probabilities, (value, from) => value * cost(from, to))));
  }
  const scores = balancedScores(info, probabilities);
  if (rule === "balanced") return greatest(scores);
  const { melanoma_first: melanoma, operating_point: point } = info.decision;
  const [first, threshold] = rule === "melanoma-first" ? [[MELANOMA], melanoma.threshold] : [point.classes, point.threshold];
  const before = names.map((name) => first.includes(name));
  // In float32, as NumPy does it.
  const total = probabilities.reduce((all, value, i) => (before[i] ? Math.fround(all + value) : all), 0);
  const over = total > Math.fround(threshold);
  return greatest(scores.map((score, i) => (before[i] === over ? Math.max(score, -Number.MAX_VALUE) : -Infinity)));
}

// A bundle calls the prior weight by its older name, `prevalence`.
function balancedScores({ class_shares: shares, prevalence: priorWeight, temperature }, probabilities) {
  return shares.map((share, i) => (share > 0
    ? Math.log(Math.max(probabilities[i], SMALLEST)) - (priorWeight / temperature) * Math.log(share)
    : -Infinity));
}

function greatest(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}

function sum(values, each) {
  return values.reduce((total, value, i) => total + each(value, i), 0);
}

// Every class whose score, what is more probable than itself, is within the threshold.
function predictionSet(conformal, probabilities, ranked, called) {
  let score = 0;
  return ranked.filter((index) => {
    const limit = conformal.thresholds?.[index] ?? conformal.threshold;
    const inside = score <= limit + 1e-6;
    score += probabilities[index];
    return inside || index === called;
  });
}

function warningsOf({ quality, input }, { pixels, width, height }) {
  const { luminance, sharpness } = measure(pixels, input.width, input.height);
  const found = {
    dark: luminance < quality.darkest,
    bright: luminance > quality.brightest,
    blurred: sharpness < quality.blurriest,
    small: width < input.width || height < input.height,
  };
  return Object.keys(found).filter((name) => found[name]);
}

// The mean of the luma from 0 to 1, and the variance of its Laplacian.
function measure(pixels, width, height) {
  const luma = Float64Array.from({ length: width * height }, (_, i) =>
    LUMA[0] * pixels[3 * i] + LUMA[1] * pixels[3 * i + 1] + LUMA[2] * pixels[3 * i + 2]);
  const edges = [];
  for (let y = 1; y < height - 1; y += 1) {
    for (let x = 1; x < width - 1; x += 1) {
      const at = y * width + x;
      edges.push(luma[at - width] + luma[at + width] + luma[at - 1] + luma[at + 1] - 4 * luma[at]);
    }
  }
  const mean = sum(edges, (value) => value) / edges.length;
  return {
    luminance: sum(luma, (value) => value) / luma.length / 255,
    sharpness: sum(edges, (value) => (value - mean) ** 2) / edges.length,
  };
}

// The class's map, moved to where its cells look, linearly between cells, edges repeated.
function alignedMap({ map_shift: shift, map_scale: scale }, { data, dims }, called) {
  const [, , height, width] = dims;
  const cell = (y, x) => data[(called * height + y) * width + x];
  const rows = places(height, shift[0], scale[0]);
  const columns = places(width, shift[1], scale[1]);
  return rows.map(([top, bottom, down]) => columns.map(([left, right, across]) => {
    const at = (x) => cell(top, x) * (1 - down) + cell(bottom, x) * down;
    return at(left) * (1 - across) + at(right) * across;
  }));
}

function places(length, shift, scale) {
  return Array.from({ length }, (_, i) => {
    const place = Math.min(Math.max((i + 0.5) * scale - 0.5 + shift, 0), length - 1);
    const before = Math.floor(place);
    return [before, Math.min(before + 1, length - 1), place - before];
  });
}
