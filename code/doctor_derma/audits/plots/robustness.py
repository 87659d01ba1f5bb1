"""Robustness: the figures by severity, the mean drops, and what the severities look like."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from doctor_derma.audits.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from doctor_derma.audits.robustness import ALL, CLEAN, MEAN, find_interval
from doctor_derma.data.synthetic.lesions import draw_lesion
from doctor_derma.data.synthetic.scenes import Skin, photograph
from doctor_derma.evaluation.plots.style import (
    INK,
    MODEL_COLOURS,
    draw_interval,
    new_figure,
    style_axes,
    write_beside,
)

TITLES = {
    "jpeg": "JPEG compression",
    "blur": "Gaussian blur",
    "noise": "Gaussian noise",
    "darker": "Darker",
    "brighter": "Brighter",
    "warm": "Warm colour cast",
    "cool": "Cool colour cast",
    "hair": "Hairs",
    "ruler": "Ruler",
    "rotation": "Rotation",
    ALL: "Mean of all",
}
SHOWN = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy"}
COLOURS = dict(zip(SHOWN, MODEL_COLOURS, strict=False))
MARKERS = dict(zip(SHOWN, ("o", "s"), strict=True))
COLUMNS = 5
TILE_INCHES = 1.5


def plot_robustness(frame: pd.DataFrame) -> Figure:
    """Draw one panel a corruption: accuracy and balanced accuracy by severity.

    Parameters
    ----------
    frame : as ``measure_robustness`` returns it
    """
    rows = -(-len(CORRUPTIONS) // COLUMNS)
    figure = new_figure(2.5 * COLUMNS, 2.75 * rows + 0.7)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for position, (axes, name) in enumerate(zip(panels.flat, CORRUPTIONS, strict=True)):
        for metric in SHOWN:
            _draw_metric(axes, frame, name, metric)
        style_axes(axes, TITLES[name], "", "")
        if position % COLUMNS == 0:
            axes.set_ylabel("Share right", color=INK, fontsize=10)
        if position // COLUMNS == rows - 1:
            axes.set_xlabel("Severity", color=INK, fontsize=10)
        axes.set_xticks(SEVERITIES)
    shown = frame[frame["metric"].isin(SHOWN)]
    panels[0, 0].set_ylim(max(0, shown["low"].min() - 0.03), min(1.01, shown["high"].max() + 0.03))
    _title(figure, frame, "Robustness by severity; bands are 95% intervals, dashes clean pictures")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    return figure


def plot_robustness_drops(frame: pd.DataFrame) -> Figure:
    """Draw each corruption's mean drop over the five severities, the worst on top.

    Parameters
    ----------
    frame : as ``measure_robustness`` returns it
    """
    drops = {
        (metric, name): find_interval(frame, name, MEAN, metric, "drop")
        for metric in SHOWN
        for name in (ALL, *CORRUPTIONS)
    }
    names = [ALL, *sorted(CORRUPTIONS, key=lambda name: drops["balanced_accuracy", name].value)]
    figure = new_figure(11.6, 0.8 + 0.4 * len(names))
    panels = figure.subplots(1, len(SHOWN), sharey=True, sharex=True)
    for axes, (metric, title) in zip(panels, SHOWN.items(), strict=True):
        for row, name in enumerate(names):
            interval = drops[metric, name]
            draw_interval(axes, row, interval, INK if name == ALL else COLOURS[metric])
            write_beside(axes, row, str(interval))
        style_axes(axes, title, "Lost against clean, with 95% interval", "")
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
        axes.axhline(0.5, color=INK, linewidth=0.6)
        axes.set_yticks(range(len(names)), [TITLES[name] for name in names])
        axes.xaxis.set_major_locator(MaxNLocator(5))
    _title(figure, frame, "What corruptions cost, mean over five severities")
    return figure


def plot_corruptions(image: np.ndarray) -> Figure:
    """Draw one picture under every corruption and severity.

    Parameters
    ----------
    image : uint8 RGB (height, width, 3), such as ``example_picture`` returns
    """
    severities = (0, *SEVERITIES)
    height, width = image.shape[:2]
    figure = new_figure(
        TILE_INCHES * len(severities) + 0.5,
        (TILE_INCHES * height / width + 0.06) * len(CORRUPTIONS) + 0.6,
    )
    grid = figure.subplots(len(CORRUPTIONS), len(severities), squeeze=False)
    for row, name in zip(grid, CORRUPTIONS, strict=True):
        for axes, severity in zip(row, severities, strict=True):
            axes.imshow(corrupt(name, image, severity, "example"))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(TITLES[name].replace(" ", "\n", 1), color=INK, fontsize=9)
    for axes, severity in zip(grid[0], severities, strict=True):
        axes.set_title(f"severity {severity}" if severity else CLEAN, fontsize=9, color=INK)
    figure.suptitle(
        "What the severities look like",
        x=0.01,
        ha="left",
        fontsize=11.5,
        fontweight="bold",
        color=INK,
    )
    return figure


def example_picture(size: tuple[int, int] = (480, 360)) -> np.ndarray:
    """Draw a synthetic melanoma on hairless skin, uint8 (height, width, 3).

    Parameters
    ----------
    size : (width, height) in pixels
    """
    generator = np.random.default_rng(5)
    lesion = draw_lesion("mel", generator)
    return np.array(photograph(lesion, Skin(0.12, 0.2, hairs=0), size, generator))


def _draw_metric(axes: Axes, frame: pd.DataFrame, corruption: str, metric: str) -> None:
    colour = COLOURS[metric]
    clean = find_interval(frame, CLEAN, "0", metric).value
    axes.axhline(clean, color=colour, linewidth=1.1, linestyle=(0, (4, 3)))
    of = [find_interval(frame, corruption, str(severity), metric) for severity in SEVERITIES]
    low, high = [one.low for one in of], [one.high for one in of]
    axes.fill_between(SEVERITIES, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(
        SEVERITIES,
        [one.value for one in of],
        color=colour,
        marker=MARKERS[metric],
        markersize=4.5,
        linewidth=1.6,
        label=SHOWN[metric],
    )


def _title(figure: Figure, frame: pd.DataFrame, title: str) -> None:
    extent = f"{frame['images'].iloc[0]:,} images of {frame['lesions'].iloc[0]:,} lesions"
    figure.suptitle(
        f"{title}\n{extent}", x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK
    )
