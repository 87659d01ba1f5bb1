"""How much of a map's evidence is on the lesion, by class and decision, against baselines."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doctor_derma.audits.group_means import interval_at
from doctor_derma.audits.localisation import (
    DECISIONS,
    DIFFERENCE,
    GAUSSIAN,
    KEYS,
    MASK,
    MEASURES,
    MODEL,
    UNIFORM,
    shown_groups,
)
from doctor_derma.evaluation.plots.style import (
    GRID,
    MODEL_COLOURS,
    MUTED,
    draw_interval,
    new_figure,
    style_axes,
    write_beside,
)

MODEL_COLOUR = MODEL_COLOURS[0]
BASELINES = {
    GAUSSIAN: ("centred Gaussian", "D", "#d55e00"),
    UNIFORM: ("uniform map (the lesion's share of the picture)", "|", MUTED),
    MASK: ("the mask itself at the map's resolution", "^", "#009e73"),
}
MEANINGS = {
    "mass": "Share of the positive evidence for the called class",
    "hit": "Share of pictures (pointing game)",
}


def plot_localisation(frame: pd.DataFrame) -> Figure:
    """Draw both measures with 95% intervals, and write their difference to the Gaussian.

    Parameters
    ----------
    frame : of ``measure_localisation``
    """
    indexed = frame.set_index(KEYS)
    groups = shown_groups(frame)
    figure = new_figure(11.6, 2.3 + 0.46 * len(groups))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        for row, group in enumerate(groups):
            _draw_group(axes, row, indexed, (*group, measure))
        style_axes(axes, title, MEANINGS[measure], "")
        axes.set_xlim(-0.03, 1.03)
        axes.axhline(len(DECISIONS) - 0.5, color=GRID, linewidth=2)
        write_beside(axes, -0.75, "minus Gaussian")
    panels[0].set_ylim(len(groups) - 0.4, -0.9)
    images = indexed["images"].to_dict()
    labels = [
        f"{title}\n{images[(*group, 'mass', MODEL)]:,} images" for group, title in groups.items()
    ]
    panels[0].set_yticks(range(len(groups)), labels)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return figure


def _draw_group(axes: Axes, row: int, indexed: pd.DataFrame, key: tuple) -> None:
    model = interval_at(indexed, (*key, MODEL))
    if pd.isna(model.value):
        axes.text(0, row, "no pictures", color=MUTED, va="center", fontsize=9)
        return
    draw_interval(axes, row, model, MODEL_COLOUR)
    if row == 0:
        axes.lines[-1].set(label="activation map, with 95% interval", linestyle="none")
    for kind, (label, marker, colour) in BASELINES.items():
        axes.plot(
            interval_at(indexed, (*key, kind)).value,
            row,
            marker=marker,
            markersize=11 if marker == "|" else 6.5,
            markeredgewidth=1.8,
            markerfacecolor="white",
            markeredgecolor=colour,
            linestyle="none",
            label=label if row == 0 else None,
        )
    write_beside(axes, row, interval_at(indexed, (*key, DIFFERENCE)).signed)
