"""The reliability diagram: confidence against accuracy, and how often each is claimed."""

import numpy as np
from matplotlib.figure import Figure

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.calibration import reliability_curve
from doctor_derma.evaluation.plots.style import INK, new_figure, style_axes
from doctor_derma.evaluation.predictions import Predictions

ACCURACY_COLOUR = "#8fc1e3"
GAP_COLOUR = "#d55e00"


def plot_reliability(predictions: Predictions, intervals: dict[str, Interval]) -> Figure:
    """Draw accuracy and the gap to mean confidence for each bin, above a histogram."""
    curve = reliability_curve(predictions.labels, predictions.probabilities)
    figure = new_figure(6.4, 7.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    filled = curve.counts > 0
    centres = ((curve.edges[:-1] + curve.edges[1:]) / 2)[filled]
    width = np.diff(curve.edges)[filled] * 0.92
    accuracy, confidence = curve.accuracy[filled], curve.confidence[filled]

    upper.bar(centres, accuracy, width, color=ACCURACY_COLOUR, label="Accuracy")
    upper.bar(
        centres,
        confidence - accuracy,
        width,
        bottom=accuracy,
        facecolor=GAP_COLOUR + "30",
        edgecolor=GAP_COLOUR,
        hatch="////",
        linewidth=0.8,
        label="Gap to mean confidence",
    )
    upper.plot([0, 1], [0, 1], color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="Calibrated")
    style_axes(
        upper,
        f"Reliability, expected calibration error {intervals['ece']}\n{predictions.name}",
        "",
        "Accuracy",
    )
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    upper.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=INK)

    share = curve.counts[filled] / curve.counts.sum()
    lower.bar(centres, share * 100, width, color=ACCURACY_COLOUR)
    confidence_mean = predictions.probabilities.max(axis=1).mean()
    most_probable = predictions.probabilities.argmax(axis=1)
    accuracy_mean = (most_probable == predictions.labels).mean()
    for value, label, colour, dash in (
        (confidence_mean, "Mean confidence", GAP_COLOUR, (0, (4, 2))),
        (accuracy_mean, "Accuracy", INK, "-"),
    ):
        lower.axvline(
            value, color=colour, linestyle=dash, linewidth=1.8, label=f"{label} {value:.3f}"
        )
    style_axes(lower, "", "Confidence (probability of the most probable class)", "% of images")
    lower.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=INK)
    return figure
