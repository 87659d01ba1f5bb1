"""How often prediction sets hold the true class, and how large they are, class by class."""

import numpy as np
import pandas as pd

from doctor_derma.audits.group_means import ALL, group_means, interval_at
from doctor_derma.evaluation.bootstrap import RESAMPLES
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table
from doctor_derma.inference.conformal import prediction_sets

COVERAGE, SIZE, SINGLE = "coverage", "size", "single"
KEYS = ["class", "measure"]


def measure_coverage(
    predictions: Predictions, threshold: float, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Measure conformal prediction sets on images that neither training nor threshold saw.

    Parameters
    ----------
    predictions : of n images
    threshold : of ``prediction_sets``, from other images
    resamples, seed : of the bootstrap over lesions

    Returns
    -------
    One row a class (``all`` first) and measure, with ``images``, ``value``, ``low``, ``high``:

    - ``coverage``: share of images whose set holds the true class
    - ``size``: mean number of classes in a set
    - ``single``: share of images whose set is one class
    """
    sets = prediction_sets(predictions.probabilities, threshold, predictions.predicted)
    sizes = sets.sum(axis=1)
    covered = np.take_along_axis(sets, predictions.labels[:, None], axis=1)[:, 0]
    figures = np.stack([covered, sizes, sizes == 1], axis=1).astype(float)
    names = [ALL, *predictions.classes]
    members = [np.ones(len(sets), dtype=bool)]
    members += [predictions.labels == index for index in range(len(predictions.classes))]
    means = group_means(figures, np.array(members), predictions.lesions, resamples, seed)
    rows = [
        {
            "class": name,
            "measure": measure,
            "images": int(members[row].sum()),
            "value": means.value[row, column],
            "low": means.low[row, column],
            "high": means.high[row, column],
        }
        for row, name in enumerate(names)
        for column, measure in enumerate((COVERAGE, SIZE, SINGLE))
    ]
    return pd.DataFrame(rows)


def coverage_table(frame: pd.DataFrame, target: float) -> Table:
    """Tabulate coverage and size for all images and for each class."""
    indexed = frame.set_index(KEYS)
    images = indexed["images"].to_dict()
    rows = (
        (
            name,
            f"{images[(name, COVERAGE)]:,}",
            *(str(interval_at(indexed, (name, measure))) for measure in (COVERAGE, SIZE, SINGLE)),
        )
        for name in frame["class"].unique()
    )
    return Table(
        f"Prediction sets with a target of {target:.0%} (95% interval)",
        ("True class", "Images", "Set holds it", "Classes in the set", "One class only"),
        tuple(rows),
        "The target is for all images together; a class may be far from it. Intervals: "
        "percentile bootstrap over lesions.",
    )
