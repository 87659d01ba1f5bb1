"""Confusion matrices, as counts and as shares of each true class."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.predictions import Predictions

COLOUR_MAP = "Blues"
DARK = 0.55


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Count images by true class (row) and called class (column), int64 [K, K]."""
    size = len(predictions.classes)
    cells = predictions.labels * size + predictions.predicted
    return np.bincount(cells, minlength=size * size).reshape(size, size)


def plot_confusion_counts(predictions: Predictions) -> Figure:
    """Draw the confusion matrix in images."""
    counts = confusion_matrix(predictions)
    # The square root shows the small classes beside one that dominates.
    shade = PowerNorm(0.5, vmin=0, vmax=counts.max())(counts)
    texts = [[f"{count:,}" if count else "·" for count in row] for row in counts]
    return _plot_matrix(predictions, np.asarray(shade), texts, "Confusion matrix, images")


def plot_confusion_shares(predictions: Predictions) -> Figure:
    """Draw the confusion matrix in percent of each true class; the diagonal is sensitivity."""
    counts = confusion_matrix(predictions)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    texts = [[_percent(share) for share in row] for row in shares]
    return _plot_matrix(
        predictions, np.nan_to_num(shares), texts, "Confusion matrix, % of each true class"
    )


def _percent(share: float) -> str:
    if np.isnan(share) or share == 0:
        return "·"
    return f"{share:.1%}" if share < 0.01 else f"{share:.0%}"


def _plot_matrix(
    predictions: Predictions, shade: np.ndarray, texts: list[list[str]], title: str
) -> Figure:
    size = len(predictions.classes)
    side = min(12.0, max(4.6, 1.9 + 0.62 * size))
    figure = style.new_figure(side, side)
    axes = figure.subplots()
    axes.imshow(shade, cmap=COLOUR_MAP, vmin=0, vmax=1.15)
    style.style_axes(axes, f"{title}\n{predictions.name}", "Predicted class", "True class")
    axes.grid(visible=False)
    axes.set_xticks(range(size), predictions.classes, rotation=45 if size > 8 else 0)
    axes.set_yticks(range(size), predictions.classes)
    axes.spines[:].set_visible(False)
    for edge in np.arange(size - 1) + 0.5:
        axes.axhline(edge, color="white", linewidth=1.6)
        axes.axvline(edge, color="white", linewidth=1.6)
    for row in range(size):
        for column in range(size):
            axes.text(
                column,
                row,
                texts[row][column],
                ha="center",
                va="center",
                fontsize=10 if size <= 10 else 7,
                fontweight="bold" if row == column else "normal",
                color="white" if shade[row, column] > DARK else style.INK,
            )
    return figure


PANELS = {
    "sensitivity": ("Sensitivity", "found, of those with the class"),
    "ppv": ("PPV", "right, of those called the class"),
}


def plot_by_class(predictions: Predictions, intervals: Mapping[str, Interval]) -> Figure:
    """Draw a dot and its interval for each class, with the images behind it."""
    classes = predictions.classes
    figure = style.new_figure(6.6, 1.9 + 0.66 * len(classes))
    rows = np.arange(len(classes))[::-1]
    counts = np.bincount(predictions.labels, minlength=len(classes))
    for axes, (metric, (title, meaning)) in zip(
        figure.subplots(1, 2, sharey=True), PANELS.items(), strict=True
    ):
        for row, (name, colour) in zip(rows, style.class_colours(classes).items(), strict=True):
            interval = intervals[f"{metric}_{name}"]
            if np.isnan(interval.value):
                axes.text(0.02, row, "undefined", color=colour, va="center", fontsize=9)
                continue
            style.draw_interval(axes, row, interval, colour)
            axes.text(
                interval.value,
                row + 0.17,
                f"{interval.value:.0%}",
                ha="center",
                va="bottom",
                fontsize=8.5,
                color=style.INK,
            )
        style.style_axes(axes, title, f"Share {meaning}", "")
        axes.set_xlim(-0.03, 1.05)
        axes.set_ylim(-0.6, len(classes) - 0.25)
        axes.set_yticks(
            rows, [f"{name}\n{n:,} images" for name, n in zip(classes, counts, strict=True)]
        )
    style.write_title(figure, f"By class with 95% intervals, {predictions.name}")
    return figure
