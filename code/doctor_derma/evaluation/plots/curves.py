"""ROC curves: of each class against the rest, and their mean for each of several models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.calibration import reliability_curve
from doctor_derma.evaluation.comparison import Comparison
from doctor_derma.evaluation.metrics import SPECIFICITY
from doctor_derma.evaluation.plots.style import (
    DASHES,
    INK,
    MODEL_COLOURS,
    MUTED,
    Dash,
    class_colours,
    in_turn,
    legend_below,
    new_figure,
    square_unit_axes,
    style_axes,
)
from doctor_derma.evaluation.predictions import Predictions

GRID_POINTS = 1001
CORNER = 0.3


@dataclass(frozen=True, eq=False)
class _Curve:
    false_rate: np.ndarray
    true_rate: np.ndarray
    label: str
    colour: str
    dash: Dash
    width: float = 1.8
    operating_sensitivity: float | None = None


def class_roc(predictions: Predictions, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates of one class against the rest."""
    false_rate, true_rate, _ = roc_curve(
        predictions.labels == index, predictions.probabilities[:, index]
    )
    return false_rate, true_rate


def macro_roc(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Average the one-vs-rest ROC curves over the classes, at equal false positive rates.

    Returns
    -------
    false and true positive rate, float64 [1002] each; the area under the curve is the
    macro AUC up to interpolation
    """
    rates = np.linspace(0, 1, GRID_POINTS)
    curves = [
        np.interp(rates, *class_roc(predictions, index)) for index in predictions.testable_classes
    ]
    mean = np.mean(curves, axis=0) if curves else np.full(GRID_POINTS, np.nan)
    # The mean starts above 0 where a curve rises at a false positive rate of 0.
    return np.append(0, rates), np.append(0, mean)


def plot_roc(predictions: Predictions, intervals: Mapping[str, Interval]) -> Figure:
    """Draw the ROC curve of each class, and their mean; dots mark 90% specificity."""
    colours = class_colours(predictions.classes)
    dashes = in_turn(predictions.classes, DASHES)
    curves = []
    for index in predictions.testable_classes:
        name = predictions.classes[index]
        found = intervals[f"sensitivity_at_90_specificity_{name}"].value
        label = f"{name}  {intervals[f'auc_{name}']};  {found:.3f}"
        rates = class_roc(predictions, index)
        curve = _Curve(*rates, label, colours[name], dashes[name], operating_sensitivity=found)
        curves.append(curve)
    label = f"mean  {intervals['macro_auc']}"
    curves.append(_Curve(*macro_roc(predictions), label, INK, "-", 2.4))
    title = f"ROC, each class against the rest\n{predictions.name}"
    legend = "Area under the curve (95% interval);  sensitivity at 90% specificity (dots)"
    return _plot(curves, title, legend, 2)


def plot_macro_roc(comparison: Comparison) -> Figure:
    """Draw the mean one-vs-rest ROC curve of each model."""
    colours = in_turn(comparison.intervals, MODEL_COLOURS)
    curves = []
    for position, model in enumerate(comparison.models):
        label = f"{model.name}  {comparison.intervals[model.name]['macro_auc']}"
        dash = DASHES[position % len(DASHES)]
        curves.append(_Curve(*macro_roc(model), label, colours[model.name], dash, 2.1))
    title = "ROC, mean over the classes"
    return _plot(curves, title, "Macro area under the curve (95% interval)", 1)


def _plot(curves: list[_Curve], title: str, legend: str, columns: int) -> Figure:
    figure = new_figure(6.4, 7.0)
    axes = figure.subplots()
    corner = axes.inset_axes((0.4, 0.09, 0.56, 0.56))
    for panel in (axes, corner):
        panel.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        for curve in curves:
            panel.plot(
                curve.false_rate,
                curve.true_rate,
                color=curve.colour,
                linestyle=curve.dash,
                linewidth=curve.width,
                label=curve.label,
            )
        _mark_specificity(panel, curves)
    style_axes(
        axes, title, "False positive rate (1 - specificity)", "True positive rate (sensitivity)"
    )
    square_unit_axes(axes)
    style_axes(corner, "", "", "")
    corner.set_xlim(-0.004, CORNER)
    corner.set_ylim(1 - CORNER, 1.004)
    corner.set_title("Upper left corner", loc="left", fontsize=9, color=INK)
    corner.tick_params(labelsize=8)
    legend_below(figure, axes, columns, legend)
    return figure


def _mark_specificity(panel: Axes, curves: list[_Curve]) -> None:
    """Draw a line at 90% specificity and a dot on it for each curve whose sensitivity is given."""
    points = [
        (curve.operating_sensitivity, curve.colour)
        for curve in curves
        if curve.operating_sensitivity is not None
    ]
    if points:
        panel.axvline(1 - SPECIFICITY, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for sensitivity, colour in points:
        panel.plot(
            1 - SPECIFICITY,
            sensitivity,
            marker="o",
            markersize=5.5,
            color=colour,
            markeredgecolor="white",
            zorder=4,
        )


def plot_pr(predictions: Predictions, intervals: Mapping[str, Interval]) -> Figure:
    """Draw the precision-recall curve of each class; a dot marks chance, its share of images."""
    figure = new_figure(6.4, 7.0)
    axes = figure.subplots()
    colours = class_colours(predictions.classes)
    dashes = in_turn(predictions.classes, DASHES)
    for index in predictions.testable_classes:
        positive = predictions.labels == index
        precision, recall, _ = precision_recall_curve(positive, predictions.probabilities[:, index])
        name = predictions.classes[index]
        axes.plot(
            recall,
            precision,
            drawstyle="steps-post",
            color=colours[name],
            linestyle=dashes[name],
            linewidth=1.8,
            label=f"{name}  {intervals[f'average_precision_{name}']}",
        )
        axes.plot(1, positive.mean(), marker="o", markersize=5, color=colours[name], zorder=3)
    style_axes(
        axes,
        f"Precision and recall, each class against the rest\n{predictions.name}",
        "Recall (sensitivity)",
        "Precision (PPV)",
    )
    square_unit_axes(axes)
    legend_below(
        figure, axes, 2, "Average precision (95% interval); the dots at recall 1 mark chance"
    )
    return figure


ACCURACY_COLOUR = "#8fc1e3"
GAP_COLOUR = "#d55e00"


def plot_reliability(predictions: Predictions, intervals: Mapping[str, Interval]) -> Figure:
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
