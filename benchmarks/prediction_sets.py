"""Prediction sets of a run with one threshold for all classes, and with one for each class.

Calibration and thresholds are fitted on four fifths of the lesions of the validation split and
judged on the fifth, five times.

Takes about a minute; needs a run that was trained.
"""

from typing import Annotated

import numpy as np
from sklearn.model_selection import GroupKFold
from typer import Argument

from command import run, show
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import read_dataset
from doctor_derma.decisions import MELANOMA
from doctor_derma.export.calibration import calibrate
from doctor_derma.export.onnx import load_network
from doctor_derma.export.out_of_fold import network_outputs
from doctor_derma.inference.conformal import (
    class_thresholds,
    conformal_threshold,
    prediction_sets,
)
from doctor_derma.training.runs import open_run
from doctor_derma.workspace import Workspace

FOLDS = 5
KINDS = {"marginal": conformal_threshold, "class-conditional": class_thresholds}


def main(name: Annotated[str, Argument(help="of a run")]) -> None:
    workspace = Workspace.find()
    trained = open_run(workspace.runs, name)
    config = trained.config
    dataset = read_dataset(workspace.data)
    places = np.flatnonzero(dataset.table["split"] == "val")
    validation = dataset.table.iloc[places]
    labels = np.array(dataset.targets(validation))
    counts = np.bincount(dataset.targets(dataset.split("train")), minlength=len(dataset.classes))
    network = load_network(trained)
    network.tta = config.tta
    logits = network_outputs(network, pixel_cache(dataset, *config.image_size), places)[0]
    rows = []
    for kind, fit in KINDS.items():
        sets = np.empty(logits.shape, dtype=bool)
        for fitted, judged in GroupKFold(FOLDS).split(logits, groups=validation["lesion"]):
            calibration = calibrate(
                logits[fitted],
                labels[fitted],
                counts,
                balanced=config.balanced,
                prior_weight=config.prior_weight,
            )
            threshold = fit(calibration.probabilities(logits[fitted]), labels[fitted])
            # By the rule `balanced`; the label is in its set, as in every answer.
            called = logits[judged].argmax(axis=1)
            sets[judged] = prediction_sets(
                calibration.probabilities(logits[judged]), threshold, called
            )
        inside = sets[np.arange(len(labels)), labels]
        covered = {dataset.classes[k]: inside[labels == k].mean() for k in np.unique(labels)}
        worst = min(covered, key=covered.__getitem__)
        sizes = sets.sum(axis=1)
        shares = f"{inside.mean():.3f}", f"{covered.get(MELANOMA, np.nan):.3f}"
        least, single = f"{covered[worst]:.3f} ({worst})", f"{(sizes == 1).mean():.3f}"
        rows.append((kind, *shares, least, f"{sizes.mean():.2f}", single))
    headings = "sets", "all images", "melanoma", "worst class", "classes", "one class only"
    title = f"Prediction sets of {trained.name}, target 95%: {len(labels)} images"
    show(title, headings, rows)


if __name__ == "__main__":
    run(main)
