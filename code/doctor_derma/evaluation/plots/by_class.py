"""Sensitivity and PPV of each class with their intervals."""

import numpy as np
from matplotlib.figure import Figure

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.plots.style import (
    INK,
    class_colours,
    draw_interval,
    new_figure,
    style_axes,
)
from doctor_derma.evaluation.predictions import Predictions

PANELS = {
    "sensitivity": ("Sensitivity", "found, of those with the class"),
    "ppv": ("PPV", "right, of those called the class"),
}


def plot_by_class(predictions: Predictions, intervals: dict[str, Interval]) -> Figure:
    """Draw a dot and its interval for each class, with the images behind it."""
    classes = predictions.classes
    figure = new_figure(6.6, 1.9 + 0.66 * len(classes))
    rows = np.arange(len(classes))[::-1]
    counts = np.bincount(predictions.labels, minlength=len(classes))
    for axes, (metric, (title, meaning)) in zip(
        figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True
    ):
        for row, (name, colour) in zip(rows, class_colours(classes).items(), strict=True):
            interval = intervals[f"{metric}_{name}"]
            if np.isnan(interval.value):
                axes.text(0.02, row, "undefined", color=colour, va="center", fontsize=9)
                continue
            draw_interval(axes, row, interval, colour)
            axes.text(
                interval.value,
                row + 0.17,
                f"{interval.value:.0%}",
                ha="center",
                va="bottom",
                fontsize=8.5,
                color=INK,
            )
        style_axes(axes, title, f"Share {meaning}", "")
        axes.set_xlim(-0.03, 1.05)
        axes.set_ylim(-0.6, len(classes) - 0.25)
        axes.set_yticks(
            rows, [f"{name}\n{n:,} images" for name, n in zip(classes, counts, strict=True)]
        )
    figure.suptitle(
        f"By class with 95% intervals, {predictions.name}",
        x=0.01,
        ha="left",
        fontsize=11.5,
        fontweight="bold",
        color=INK,
    )
    return figure
