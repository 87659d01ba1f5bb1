"""Calibration of runs when the temperature is fitted first, or last, after the shares are weighted.

Fitted on four fifths of the lesions of the validation split, judged on the fifth, five times.
python benchmarks/calibration.py RUN RUN ...
"""

import argparse
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import GroupKFold

from doctor_derma.evaluation.calibration import ece_by_chance
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.calibration import Calibration, calibrate
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="names of runs")
    workspace = Workspace.find()
    validation = Validation.read(workspace)
    table = Table(title=f"Validation split, {len(validation.labels)} images")
    for heading in ("run", "temperature fitted", *METRICS, "ece by chance"):
        table.add_column(heading)
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
    Console().print(table)


if __name__ == "__main__":
    main()
