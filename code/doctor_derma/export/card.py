"""The model card: what a bundle is, what it was measured at, what it must not be used for."""

from pathlib import Path

from doctor_derma.atomic import replacing_file
from doctor_derma.data.ham10000 import HAM10000
from doctor_derma.data.synthesis import SYNTHETIC
from doctor_derma.export.bundle import CARD_FILE, BundleInfo

_HEADLINES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_auc": "Macro ROC AUC",
    "ece": "Expected calibration error",
    "brier": "Brier score",
}


def write_card(bundle: Path, info: BundleInfo) -> None:
    """Write the model card of a bundle as Markdown with Hugging Face front matter."""
    with replacing_file(bundle / CARD_FILE) as scratch:
        scratch.write_text(model_card(info))


def model_card(info: BundleInfo) -> str:
    """Return the model card as Markdown."""
    classes = "\n".join(f"| {c.name} | {c.full_name} |" for c in info.classes)
    counts = ", ".join(f"{info.data.images[s]} {s}" for s in sorted(info.data.images))
    return f"""---
license: other
license_name: "{info.data.licence}"
tags: [image-classification, dermatoscopy, onnx, {info.architecture}]
---
# {info.name}

**Not a medical device.** This model must not be used to diagnose, to rule out a disease or to
decide on treatment. Show any lesion that worries you to a doctor.

A `{info.architecture}` trained by Doctor Derma {info.code.version} (commit
`{info.code.git_commit}`) on the data set `{info.data.name}` ({counts} images, manifest
`{info.data.fingerprint[:16]}`). It takes {info.input.height}x{info.input.width} RGB images and
gives a probability and a class activation map for every class.

**Licence of the weights:** they derive from data under {info.data.licence} and keep its terms.
{_licence_note(info)}
## Classes

| short name | diagnosis |
| --- | --- |
{classes}

## Measured

No lesion has images in two splits. The temperature ({info.temperature:.3f}) was fitted, and the
best epoch chosen, on the validation split; the test split was used for nothing else.

{_metrics_table(info)}

Per-class figures are in `model.json`, intervals and pictures in the evaluation report.

## Limits

- {_origin_limit(info)}
- It always names one of its {len(info.classes)} classes, also for a picture of something else:
  heed `unfamiliarity`, which is over 1 for {1 - info.familiar.acceptance:.0%} of the validation
  images and for most pictures of other things.
- Probabilities are calibrated on the validation split, whose shares of diagnoses are not those
  of a practice. The class shares of the training split count with the exponent
  {info.prevalence:g}: at 1 probabilities are those for data like the training data, below it
  rare classes are called more often.
- A prediction set (probabilities before a class within {info.conformal.threshold:.3f}) holds the
  true class for {info.conformal.target:.0%} of images like those of the validation split, on
  average over all classes; for a single class it may be far less often.

`model.onnx`: {info.weights.bytes / 1e6:.1f} MB, {info.weights.precision}, SHA-256
`{info.weights.sha256}`; largest difference from the torch network's probabilities on
{info.parity.images} images: {info.parity.max_probability_difference:.1e}.
"""


def _origin_limit(info: BundleInfo) -> str:
    if info.data.name == SYNTHETIC[0]:
        return "Trained on drawn lesions: it knows nothing of real ones."
    if info.data.name == HAM10000[0]:
        return (
            "Trained on one data set, of few clinics and mostly light skin: expect worse results "
            "elsewhere."
        )
    return "Trained on one data set: expect worse results elsewhere."


def _licence_note(info: BundleInfo) -> str:
    if "NC" not in info.data.licence:
        return ""
    return """Non-commercial use only, with credit to the data's authors.

"""


def _metrics_table(info: BundleInfo) -> str:
    splits = [split for split in ("val", "test") if split in info.metrics]
    lines = [
        "| measure | " + " | ".join(splits) + " |",
        "| --- |" + " --- |" * len(splits),
    ]
    for key, label in _HEADLINES.items():
        values = [f"{info.metrics[split].get(key, float('nan')):.3f}" for split in splits]
        lines.append(f"| {label} | " + " | ".join(values) + " |")
    return "\n".join(lines)
