"""Coverage and size of prediction sets, by true class."""

import pandas as pd
from matplotlib.figure import Figure

from doctor_derma.audits.coverage import COVERAGE, KEYS, SIZE
from doctor_derma.audits.group_means import interval_at
from doctor_derma.evaluation.plots.style import (
    INK,
    MODEL_COLOURS,
    draw_interval,
    new_figure,
    style_axes,
    write_beside,
)

PANELS = {
    COVERAGE: ("Set holds the true class", "Share of images"),
    SIZE: ("Size of the set", "Classes, mean"),
}


def plot_coverage(frame: pd.DataFrame, target: float) -> Figure:
    """Draw both with 95% intervals, and the target as a line.

    Parameters
    ----------
    frame : of ``measure_coverage``
    target : share that the sets aim at, such as 0.95
    """
    indexed = frame.set_index(KEYS)
    names = list(frame["class"].unique())
    figure = new_figure(10.4, 1.8 + 0.42 * len(names))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (measure, (title, unit)) in zip(panels, PANELS.items(), strict=True):
        for row, name in enumerate(names):
            interval = interval_at(indexed, (name, measure))
            if pd.notna(interval.value):
                draw_interval(axes, row, interval, MODEL_COLOURS[0])
                write_beside(axes, row, f"{interval.value:.2f}")
        style_axes(axes, title, unit, "")
    panels[0].axvline(target, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    panels[0].set_xlim(right=1.01)
    panels[1].set_xlim(left=0.9)
    images = indexed["images"].to_dict()
    labels = [f"{name}\n{images[(name, COVERAGE)]:,} images" for name in names]
    panels[0].set_yticks(range(len(names)), labels)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return figure
