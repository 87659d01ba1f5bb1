"""Precision-recall curves, each class against the rest."""

from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.plots.style import (
    class_colours,
    class_dashes,
    legend_below,
    new_figure,
    square_unit_axes,
    style_axes,
)
from doctor_derma.evaluation.predictions import Predictions


def plot_pr(predictions: Predictions, intervals: dict[str, Interval]) -> Figure:
    """Draw the precision-recall curve of each class; a dot marks chance, its share of images."""
    figure = new_figure(6.4, 7.0)
    axes = figure.subplots()
    colours = class_colours(predictions.classes)
    dashes = class_dashes(predictions.classes)
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
