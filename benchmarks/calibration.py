"""Calibration of runs when the temperature is fitted first, or last, after the shares are weighted.

And their prediction sets, with one threshold or one a class. All is fitted on four fifths of the
lesions of the validation split and judged on the fifth, five times.
python benchmarks/calibration.py RUN RUN ...
"""

import argparse
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import GroupKFold

from doctor_derma.decisions import MELANOMA
from doctor_derma.evaluation.calibration import ece_by_chance
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.calibration import Calibration, calibrate
from doctor_derma.inference.conformal import (
    class_thresholds,
    conformal_threshold,
    prediction_sets,
)
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.runs import open_run
from doctor_derma.workspace import Workspace
from validation import Validation

METRICS = ("macro_auc", "balanced_accuracy", "accuracy", "log_loss", "brier", "ece")
FOLDS = 5
DRAWS = 1000
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, TrainConfig], Calibration]


def last(
    logits: np.ndarray, labels: np.ndarray, counts: np.ndarray, config: TrainConfig
) -> Calibration:
    return calibrate(
        logits,
        labels,
        counts,
        balanced=config.balanced,
        prior_weight=config.prior_weight,
    )


def first(
    logits: np.ndarray, labels: np.ndarray, counts: np.ndarray, config: TrainConfig
) -> Calibration:
    """Fit it where the shares count in full, and lower their weight then."""
    whole = last(logits, labels, counts, config.model_copy(update={"prior_weight": 1.0}))
    lowered = (config.prior_weight - 1) * np.log(counts / counts.sum())
    return Calibration(whole.temperature, whole.offsets + lowered)


WAYS: dict[str, Fit] = {"first": first, "last": last}


def cross_fitted(fit: Fit, logits: np.ndarray, of: Validation, config: TrainConfig) -> np.ndarray:
    """Return the probabilities that a calibration gives to images it was not fitted on."""
    probabilities = np.empty_like(logits)
    lesions = of.dataset.table.iloc[of.rows]["lesion"]
    for fitted, held_out in GroupKFold(FOLDS).split(logits, groups=lesions):
        found = fit(logits[fitted], of.labels[fitted], of.class_counts, config)
        probabilities[held_out] = found.probabilities(logits[held_out])
    return probabilities


def set_rows(logits: np.ndarray, of: Validation, config: TrainConfig) -> list[list[str]]:
    """Return coverage of all images, of melanoma and of the worst class, and size, of both sets.

    The label, by the rule ``balanced``, is in its set as in every answer.
    """
    lesions = of.dataset.table.iloc[of.rows]["lesion"]
    called = logits.argmax(axis=1)
    rows = []
    for name, fit in (("marginal", conformal_threshold), ("class-conditional", class_thresholds)):
        sets = np.empty(logits.shape, dtype=bool)
        for fitted, judged in GroupKFold(FOLDS).split(logits, groups=lesions):
            found = last(logits[fitted], of.labels[fitted], of.class_counts, config)
            threshold = fit(found.probabilities(logits[fitted]), of.labels[fitted])
            probabilities = found.probabilities(logits[judged])
            sets[judged] = prediction_sets(probabilities, threshold, called[judged])
        inside = np.take_along_axis(sets, of.labels[:, None], axis=1)[:, 0]
        by_class = {
            of.dataset.classes[k]: inside[of.labels == k].mean() for k in np.unique(of.labels)
        }
        worst = min(by_class, key=lambda name: by_class[name])
        sizes = sets.sum(axis=1)
        figures = (inside.mean(), by_class.get(MELANOMA, np.nan))
        rows.append(
            [
                name,
                *(f"{figure:.3f}" for figure in figures),
                f"{by_class[worst]:.3f} ({worst})",
                f"{sizes.mean():.2f}",
                f"{(sizes == 1).mean():.3f}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="names of runs")
    workspace = Workspace.find()
    validation = Validation.read(workspace)
    table = Table(title=f"Validation split, {len(validation.labels)} images")
    for heading in ("run", "temperature fitted", *METRICS, "ece by chance"):
        table.add_column(heading)
    covered = Table(title="Prediction sets, target 95%")
    for heading in ("run", "sets", "all", "melanoma", "worst class", "classes", "one class"):
        covered.add_column(heading)
    for name in parser.parse_args().runs:
        run = open_run(workspace.runs, name)
        logits = validation.logits(run)
        for way, fit in WAYS.items():
            probabilities = cross_fitted(fit, logits, validation, run.config)
            classes = validation.dataset.classes
            found = classification_metrics(validation.labels, probabilities, classes)
            scores = [found[metric] for metric in METRICS]
            scores.append(float(ece_by_chance(probabilities, DRAWS).mean()))
            table.add_row(run.name, way, *(f"{score:.3f}" for score in scores))
        for row in set_rows(logits, validation, run.config):
            covered.add_row(run.name, *row)
    Console().print(table)
    Console().print(covered)


if __name__ == "__main__":
    main()
