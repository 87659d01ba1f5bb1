"""The called class's probability under deletion and insertion, in three orders."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doctor_derma.audits.deletion import DIFFERENCES, ORDERS
from doctor_derma.audits.group_means import ALL, interval_at
from doctor_derma.evaluation.plots.style import (
    INK,
    MODEL_COLOURS,
    MUTED,
    draw_interval,
    new_figure,
    style_axes,
)

LOOKS = {
    "model": ("activation map", MODEL_COLOURS[0], "-"),
    "gaussian": ("centred Gaussian", MODEL_COLOURS[1], (0, (5, 1.5))),
    "random": ("random map", MUTED, (0, (1.2, 1.2))),
}
PANELS = {
    "deletion": ("Deletion: lower is better", "% of the picture turned into plain skin"),
    "insertion": ("Insertion: higher is better", "% of the picture restored from a blur"),
}
BESIDE = 0.17


def plot_deletion(frame: pd.DataFrame) -> Figure:
    """Draw the mean curves with 95% bands, and the differences in area by class.

    Parameters
    ----------
    frame : of ``measure_deletion``
    """
    classes = list(frame["class"].unique())
    figure = new_figure(10.4, 6.0 + 0.42 * len(classes))
    upper, lower = figure.subplots(2, 2, height_ratios=(4.2, 1 + 0.42 * len(classes)), sharey="row")
    areas = frame[frame["figure"] == "auc"].set_index(["class", "curve", "order"])
    curves = frame[(frame["figure"] == "probability") & (frame["class"] == ALL)]
    for axes, below, curve in zip(upper, lower, PANELS, strict=True):
        _draw_curves(axes, curves[curves["curve"] == curve], areas, curve)
        _draw_differences(below, areas, classes, curve)
    upper[0].set_ylabel("Mean probability of the called class", color=INK, fontsize=10)
    counts = areas["images"].groupby(level="class").first()
    lower[0].set_yticks(range(len(classes)), [f"{c}\n{counts[c]:,} images" for c in classes])
    lower[0].set_ylim(len(classes) - 0.4, -0.6)
    handles, labels = lower[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_curves(axes: Axes, curves: pd.DataFrame, areas: pd.DataFrame, curve: str) -> None:
    for order in ORDERS:
        label, colour, dashes = LOOKS[order]
        line = curves[curves["order"] == order]
        percent = 100 * line["share"]
        axes.fill_between(percent, line["low"], line["high"], color=colour, alpha=0.13, linewidth=0)
        area = interval_at(areas, (ALL, curve, order))
        axes.plot(
            percent,
            line["value"],
            color=colour,
            linestyle=dashes,
            linewidth=2,
            label=f"{label}, area {area}",
        )
    style_axes(axes, *PANELS[curve], "")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 1)
    axes.legend(
        loc="upper right" if curve == "deletion" else "lower right",
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )


def _draw_differences(axes: Axes, areas: pd.DataFrame, classes: list[str], curve: str) -> None:
    for difference, marker, shift in zip(DIFFERENCES, "Do", (-BESIDE, BESIDE), strict=True):
        baseline, colour, _ = LOOKS[difference.removeprefix("model minus ")]
        for row, name in enumerate(classes):
            interval = interval_at(areas, (name, curve, difference))
            if np.isfinite(interval.value):
                draw_interval(axes, row + shift, interval, colour, marker)
        axes.lines[-1].set(label=f"activation map minus {baseline}", linestyle="none")
    axes.axvline(0, color=INK, linewidth=1)
    better = "left" if curve == "deletion" else "right"
    style_axes(axes, "", f"Difference in area ({better} of 0: the activation map is better)", "")
