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
  if (abstention === "unfamiliar") {
    return `Of the kinds it knows, ${fullName} is the most probable.`;
  }
  const all = possible.length === probabilities.length;
  const out = all ? "none of the kinds below" : `only ${probabilities.length - possible.length} of the ${probabilities.length} kinds below`;
  return `${fullName} is the most probable, but it can rule out ${out}.`;
}
