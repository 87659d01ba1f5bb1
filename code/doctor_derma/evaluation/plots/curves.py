"""ROC curves: of each class against the rest, and their mean for each of several models."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.calibration import reliability_curve
from doctor_derma.evaluation.comparison import Comparison
from doctor_derma.evaluation.metrics import SPECIFICITY
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.predictions import Predictions

GRID_POINTS = 1001
CORNER = 0.3


# False and true positive rates, and how matplotlib is to draw them.
Curve = tuple[np.ndarray, np.ndarray, dict[str, Any]]


def class_roc(predictions: Predictions, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates of one class against the rest."""
    return roc_curve(predictions.labels == index, predictions.probabilities[:, index])[:2]


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
    curves: list[Curve] = []
    marks = []
    for index, name, look in _class_looks(predictions):
        found = intervals[f"sensitivity_at_90_specificity_{name}"].value
        label = f"{name}  {intervals[f'auc_{name}']};  {found:.3f}"
        curves.append((*class_roc(predictions, index), look | {"label": label}))
        marks.append((found, look["color"]))
    look = {"color": style.INK, "linewidth": 2.4, "label": f"mean  {intervals['macro_auc']}"}
    curves.append((*macro_roc(predictions), look))
    title = f"ROC, each class against the rest\n{predictions.name}"
    legend = "Area under the curve (95% interval);  sensitivity at 90% specificity (dots)"
    return _plot(curves, title, legend, 2, marks)


def plot_macro_roc(comparison: Comparison) -> Figure:
    """Draw the mean one-vs-rest ROC curve of each model."""
    names = comparison.intervals
    colours, dashes = style.in_turn(names, style.MODEL_COLOURS), style.in_turn(names, style.DASHES)
    curves: list[Curve] = []
    for model in comparison.models:
        label = f"{model.name}  {names[model.name]['macro_auc']}"
        look = {"color": colours[model.name], "linestyle": dashes[model.name], "linewidth": 2.1}
        curves.append((*macro_roc(model), look | {"label": label}))
    title = "ROC, mean over the classes"
    return _plot(curves, title, "Macro area under the curve (95% interval)", 1, [])


def _plot(
    curves: list[Curve], title: str, legend: str, columns: int, marks: Sequence[tuple[float, str]]
) -> Figure:
    """Draw curves, whole and their upper left corner, with dots of a colour at 90% specificity."""
    figure = style.new_figure(6.4, 7.0)
    axes = figure.subplots()
    corner = axes.inset_axes((0.4, 0.09, 0.56, 0.56))
    x = 1 - SPECIFICITY
    dot: dict[str, Any] = {"marker": "o", "markersize": 5.5, "markeredgecolor": "white"}
    for panel in (axes, corner):
        panel.plot([0, 1], [0, 1], color=style.MUTED, linewidth=1, linestyle=(0, (2, 3)))
        for false_rate, true_rate, look in curves:
            panel.plot(false_rate, true_rate, **look)
        if marks:
            panel.axvline(x, color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for sensitivity, colour in marks:
            panel.plot(x, sensitivity, color=colour, zorder=4, **dot)
    across, up = "False positive rate (1 - specificity)", "True positive rate (sensitivity)"
    style.style_axes(axes, title, across, up)
    style.square_unit_axes(axes)
    style.style_axes(corner, "", "", "")
    corner.set_xlim(-0.004, CORNER)
    corner.set_ylim(1 - CORNER, 1.004)
    corner.set_title("Upper left corner", loc="left", fontsize=9, color=style.INK)
    corner.tick_params(labelsize=8)
    style.legend_below(figure, axes, columns, legend)
    return figure


def _class_looks(predictions: Predictions) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Give the index, name and look of each class that has curves."""
    colours = style.class_colours(predictions.classes)
    dashes = style.in_turn(predictions.classes, style.DASHES)
    for index in predictions.testable_classes:
        name = predictions.classes[index]
        yield index, name, {"color": colours[name], "linestyle": dashes[name], "linewidth": 1.8}


def plot_pr(predictions: Predictions, intervals: Mapping[str, Interval]) -> Figure:
    """Draw the precision-recall curve of each class; a dot marks chance, its share of images."""
    figure = style.new_figure(6.4, 7.0)
    axes = figure.subplots()
    for index, name, look in _class_looks(predictions):
        positive = predictions.labels == index
        precision, recall, _ = precision_recall_curve(positive, predictions.probabilities[:, index])
        label = f"{name}  {intervals[f'average_precision_{name}']}"
        axes.plot(recall, precision, drawstyle="steps-post", label=label, **look)
        axes.plot(1, positive.mean(), marker="o", markersize=5, color=look["color"], zorder=3)
    title = f"Precision and recall, each class against the rest\n{predictions.name}"
    style.style_axes(axes, title, "Recall (sensitivity)", "Precision (PPV)")
    style.square_unit_axes(axes)
    legend = "Average precision (95% interval); the dots at recall 1 mark chance"
    style.legend_below(figure, axes, 2, legend)
    return figure


ACCURACY_COLOUR = "#8fc1e3"
GAP_COLOUR = "#d55e00"


def plot_reliability(predictions: Predictions, intervals: Mapping[str, Interval]) -> Figure:
    """Draw accuracy and the gap to mean confidence for each bin, above a histogram."""
    curve = reliability_curve(predictions.labels, predictions.probabilities)
    filled = curve[curve["counts"] > 0]
    centre, width, accuracy = filled["centre"], 0.92 * filled["width"], filled["accuracy"]
    figure = style.new_figure(6.4, 7.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))

    upper.bar(centre, accuracy, width, color=ACCURACY_COLOUR, label="Accuracy")
    gap: dict[str, Any] = {"facecolor": GAP_COLOUR + "30", "edgecolor": GAP_COLOUR, "hatch": "////"}
    gap |= {"linewidth": 0.8, "label": "Gap to mean confidence"}
    upper.bar(centre, filled["confidence"] - accuracy, width, bottom=accuracy, **gap)
    upper.plot(
        [0, 1], [0, 1], color=style.INK, linewidth=1.2, linestyle=(0, (4, 3)), label="Calibrated"
    )
    title = f"Reliability, expected calibration error {intervals['ece']}\n{predictions.name}"
    style.style_axes(upper, title, "", "Accuracy")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    upper.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=style.INK)

    share = filled["counts"] / curve["counts"].sum()
    lower.bar(centre, share * 100, width, color=ACCURACY_COLOUR)
    mean = predictions.probabilities.max(axis=1).mean()
    right = (predictions.probabilities.argmax(axis=1) == predictions.labels).mean()
    label = f"Mean confidence {mean:.3f}"
    lower.axvline(mean, color=GAP_COLOUR, linestyle=(0, (4, 2)), linewidth=1.8, label=label)
    lower.axvline(right, color=style.INK, linewidth=1.8, label=f"Accuracy {right:.3f}")
    across = "Confidence (probability of the most probable class)"
    style.style_axes(lower, "", across, "% of images")
    lower.legend(loc="upper left", frameon=False, fontsize=9, labelcolor=style.INK)
    return figure
