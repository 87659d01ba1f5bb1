"""How often prediction sets hold the true class, and how large they are, class by class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from doctor_derma.audits.groups import by_class, group_means, interval_of, rows_by
from doctor_derma.bundle import SetKind
from doctor_derma.evaluation.bootstrap import RESAMPLES
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table
from doctor_derma.inference.conformal import prediction_sets

COVERAGE, SIZE, SINGLE = "coverage", "size", "single"
PANELS = {
    COVERAGE: ("Set holds the true class", "Share of images (95% interval)"),
    SIZE: ("Size of the set", "Classes, mean (95% interval)"),
}


def measure_coverage(
    predictions: Predictions,
    threshold: float | Sequence[float],
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Measure conformal prediction sets on images that neither training nor threshold saw.

    Parameters
    ----------
    predictions : of n images
    threshold : of ``prediction_sets``, from other images; or one for each class
    resamples : of the bootstrap over lesions

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
    values = np.stack([covered, sizes, sizes == 1], axis=1).astype(float)
    measures = [{"measure": measure} for measure in (COVERAGE, SIZE, SINGLE)]
    groups = by_class(predictions.labels, predictions.classes)
    frame = group_means(values, measures, groups, predictions.lesions, resamples)
    return frame.drop(columns="lesions")


def coverage_table(frame: pd.DataFrame, target: float, sets: SetKind = "marginal") -> Table:
    """Tabulate coverage and size for all images and for each class."""
    title, promise = "Prediction sets", "for all images together; a class may be far from it"
    if sets == "class-conditional":
        title = "Class-conditional prediction sets"
        promise = "for each class by itself, but for those with too few images to fit to"
    by_key, rows = rows_by(frame, "class", "measure"), []
    for name in frame["class"].unique():
        cells = (str(interval_of(by_key[name, measure])) for measure in (COVERAGE, SIZE, SINGLE))
        rows.append((str(name), f"{by_key[name, COVERAGE]['images']:,}", *cells))
    return Table(
        f"{title} with a target of {target:.0%} (95% interval)",
        ("True class", "Images", "Set holds it", "Classes in the set", "One class only"),
        tuple(rows),
        f"The target is {promise}. Intervals: percentile bootstrap over lesions.",
    )


def plot_coverage(frame: pd.DataFrame, target: float) -> Figure:
    """Draw what `measure_coverage` returns with 95% intervals, and the target as a line."""
    names = frame[frame["measure"] == COVERAGE]
    figure = style.new_figure(10.4, 1.8 + 0.42 * len(names))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (measure, (title, unit)) in zip(panels, PANELS.items(), strict=True):
        for row, of in enumerate(frame[frame["measure"] == measure].to_dict("records")):
            if pd.notna(of["value"]):
                style.draw_interval(axes, row, interval_of(of), style.MODEL_COLOURS[0])
                style.write_beside(axes, row, f"{of['value']:.2f}")
        style.style_axes(axes, title, unit, "")
    panels[0].axvline(target, color=style.INK, linewidth=1.2, linestyle=(0, (4, 3)))
    panels[0].set_xlim(right=1.01)
    panels[1].set_xlim(left=0.9)
    labels = [f"{n}\n{i:,} images" for n, i in zip(names["class"], names["images"], strict=True)]
    panels[0].set_yticks(range(len(names)), labels)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return figure
