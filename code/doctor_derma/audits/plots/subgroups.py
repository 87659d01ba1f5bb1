"""A forest plot of one attribute: the metrics of its groups, gaps in colour."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from doctor_derma.audits.group_figures import CLASS_LESIONS
from doctor_derma.audits.image_groups import ATTRIBUTES
from doctor_derma.audits.subgroups import ALL, JUDGED_LESIONS, METRICS
from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.plots.style import (
    INK,
    MUTED,
    draw_interval,
    new_figure,
    style_axes,
)

PLAIN, FLAGGED, SMALL = ("#0072b2", "o"), ("#d55e00", "D"), ("#a5afba", "o")
COLUMNS = 4
TOO_FEW = "too few"
OTHERS = "all other images at the group's\nmix of classes"
TITLES = METRICS | {"ece": "ECE (not judged)"}


def plot_subgroups(frame: pd.DataFrame, attribute: str) -> Figure:
    """Draw one panel a metric, one row a group, against the line of all images.

    Parameters
    ----------
    frame : of `doctor_derma.audits.subgroups.measure_subgroups`
    attribute : one that the frame holds, such as ``age``
    """
    rows = frame[frame["attribute"] == attribute]
    overall = frame[frame["attribute"] == ALL].set_index("metric")["value"]
    groups = rows.drop_duplicates("group")[["group", "images", "lesions"]]
    metrics = [metric for metric in METRICS if metric in set(rows["metric"])]
    height = 1.0 + 0.36 * len(groups)
    lines = -(-(len(metrics) + 1) // COLUMNS)
    figure = new_figure(13.2, lines * height + 0.4)
    panels = figure.subplots(lines, COLUMNS, squeeze=False)
    for axes, metric in zip(panels.flat, metrics, strict=False):
        _draw_panel(axes, rows[rows["metric"] == metric], overall[metric])
        style_axes(axes, TITLES[metric], "", "")
        axes.title.set_fontsize(10.5)
    _label_rows(panels, groups, len(metrics))
    for axes in panels.flat[len(metrics) :]:
        axes.axis("off")
    _draw_key(panels.flat[len(metrics)])
    figure.suptitle(
        f"{ATTRIBUTES.get(attribute, attribute)}: each group with 95% interval",
        x=0.01,
        ha="left",
        fontsize=12,
        fontweight="bold",
        color=INK,
    )
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, overall: float) -> None:
    positions = np.arange(len(rows))[::-1]
    if np.isfinite(overall):
        axes.axvline(overall, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    for position, row in zip(positions, rows.to_dict("records"), strict=True):
        if np.isnan(row["value"]):
            axes.text(
                0.03,
                position,
                TOO_FEW,
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=8,
                color=MUTED,
                backgroundcolor="white",
            )
            continue
        colour, marker = FLAGGED if row["flagged"] else SMALL if row["small"] else PLAIN
        axes.plot(row["others"], position, marker="|", markersize=15, color=INK)
        interval = Interval(row["value"], row["low"], row["high"])
        draw_interval(axes, position, interval, colour, marker)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _label_rows(panels: np.ndarray, groups: pd.DataFrame, count: int) -> None:
    labels = [
        f"{group}\n{images:,} images, {lesions:,} lesions"
        for group, images, lesions in groups.itertuples(index=False)
    ]
    for number, axes in enumerate(panels.flat[:count]):
        shown = labels if number % COLUMNS == 0 else [""] * len(labels)
        axes.set_yticks(np.arange(len(labels))[::-1], shown, fontsize=8.5)


def _draw_key(axes: Axes) -> None:
    names = {
        PLAIN: "group, no gap shown\n(or no others to compare with)",
        FLAGGED: "group with a gap to the others\n(Holm-corrected p below 0.05)",
        SMALL: f"fewer than {JUDGED_LESIONS} lesions:\ntoo small to judge",
    }
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=8, linewidth=4, label=name)
        for (colour, marker), name in names.items()
    ]
    handles += [
        Line2D([], [], color=INK, marker="|", markersize=14, linestyle="", label=OTHERS),
        Line2D([], [], color=INK, linewidth=1, linestyle=(0, (4, 2)), label="all images"),
        Line2D(
            [],
            [],
            linestyle="",
            label=f"{TOO_FEW}: fewer than {CLASS_LESIONS} lesions\nof a class that it needs",
        ),
    ]
    axes.legend(handles=handles, loc="center left", frameon=False, fontsize=8.8, labelcolor=INK)
