"""Unfamiliarity of the data set's pictures and of others, and what the others look like."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from doctor_derma.audits.unfamiliar import ALL, FAMILIAR
from doctor_derma.audits.unfamiliar_pictures import DRAWN, draw_unfamiliar
from doctor_derma.evaluation.plots.style import (
    INK,
    MODEL_COLOURS,
    new_figure,
    style_axes,
    write_beside,
)


def plot_unfamiliar(scores: pd.DataFrame, frame: pd.DataFrame) -> Figure:
    """Draw every picture's score, one row a kind, with the threshold as a line.

    Parameters
    ----------
    scores : of ``score_unfamiliar``
    frame : of ``measure_unfamiliar``
    """
    kinds = frame[frame["kind"] != ALL]
    figure = new_figure(9.6, 1.8 + 0.42 * len(kinds))
    axes = figure.subplots()
    generator = np.random.default_rng(0)
    for row, summary in enumerate(kinds.to_dict("records")):
        found = scores.loc[scores["kind"] == summary["kind"], "unfamiliarity"].to_numpy()
        spread = row + generator.uniform(-0.28, 0.28, len(found))
        colour = MODEL_COLOURS[0] if summary["kind"] == FAMILIAR else MODEL_COLOURS[1]
        axes.plot(found, spread, ".", markersize=3, alpha=0.35, color=colour)
        text = f"{summary['flagged']:.0%} over 1"
        if summary["kind"] != FAMILIAR:
            text += f"\nAUROC {summary['auroc']:.3f}"
        write_beside(axes, row, text)
    axes.axvline(1, color=INK, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    style_axes(axes, "How unlike the training images", "Unfamiliarity (threshold: 1)", "")
    axes.set_yticks(range(len(kinds)), kinds["kind"])
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    return figure


def plot_unfamiliar_pictures(columns: int = 6, seed: int = 0) -> Figure:
    """Draw some pictures of each drawn kind."""
    figure = new_figure(1.7 * columns + 0.9, 1.32 * len(DRAWN))
    grid = figure.subplots(len(DRAWN), columns)
    for row, kind in enumerate(DRAWN):
        for axes, picture in zip(grid[row], draw_unfamiliar(kind, columns, seed), strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
        grid[row][0].set_ylabel(kind, color=INK, fontsize=10)
    return figure
