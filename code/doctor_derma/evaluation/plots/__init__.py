"""Every plot of an evaluation and of a comparison, by name."""

from matplotlib.figure import Figure

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.comparison import Comparison
from doctor_derma.evaluation.plots.by_class import plot_by_class
from doctor_derma.evaluation.plots.confusion import plot_confusion_counts, plot_confusion_shares
from doctor_derma.evaluation.plots.models import plot_differences, plot_model_metrics
from doctor_derma.evaluation.plots.precision_recall import plot_pr
from doctor_derma.evaluation.plots.reliability import plot_reliability
from doctor_derma.evaluation.plots.roc import plot_macro_roc, plot_roc
from doctor_derma.evaluation.predictions import Predictions

__all__ = [
    "comparison_plots",
    "evaluation_plots",
    "plot_by_class",
    "plot_confusion_counts",
    "plot_confusion_shares",
    "plot_differences",
    "plot_macro_roc",
    "plot_model_metrics",
    "plot_pr",
    "plot_reliability",
    "plot_roc",
]


def evaluation_plots(predictions: Predictions, intervals: dict[str, Interval]) -> dict[str, Figure]:
    """Draw one model's plots; each key is a file name without its suffix."""
    return {
        "confusion_shares": plot_confusion_shares(predictions),
        "confusion_counts": plot_confusion_counts(predictions),
        "roc": plot_roc(predictions, intervals),
        "pr": plot_pr(predictions, intervals),
        "by_class": plot_by_class(predictions, intervals),
        "reliability": plot_reliability(predictions, intervals),
    }


def comparison_plots(comparison: Comparison) -> dict[str, Figure]:
    """Draw the plots of several models; each key is a file name without its suffix."""
    return {
        "model_metrics": plot_model_metrics(comparison),
        "differences": plot_differences(comparison),
        "macro_roc": plot_macro_roc(comparison),
    }
