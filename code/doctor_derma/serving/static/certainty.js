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

export function describeCertainty({ prediction_set: possible, probabilities }) {
  if (possible.length === 1) {
    return "The network rules out the other kinds.";
  }
  if (possible.length === probabilities.length) {
    return "The network is not sure: it can't rule out any of the kinds below.";
  }
  return `The network is not sure: it can't rule out ${possible.length} of the ` +
    `${probabilities.length} kinds below.`;
}
