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
