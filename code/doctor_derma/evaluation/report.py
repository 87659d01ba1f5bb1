"""Everything that is kept of an evaluation or a comparison, in one folder each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.decisions import Rule
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    bootstrap_metrics,
    bootstrap_rules,
)
from doctor_derma.evaluation.comparison import Comparison, compare
from doctor_derma.evaluation.gallery import (
    confident_right,
    confident_wrong,
    disagreements,
    make_cards,
)
from doctor_derma.evaluation.html import Gallery, Plot, Report, write_html
from doctor_derma.evaluation.plots import comparison_plots, evaluation_plots
from doctor_derma.evaluation.plots.cards import plot_cards, save_jpeg
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.predictions_csv import write_predictions_csv
from doctor_derma.evaluation.progress import with_progress
from doctor_derma.evaluation.results import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    comparison_summary,
    evaluation_summary,
    write_joint_csv,
    write_json,
)
from doctor_derma.evaluation.tables import (
    comparison_tables,
    evaluation_tables,
    provenance_table,
)

REPORT_FILE = "report.html"
CAPTIONS = {
    "by_class": "Sensitivity and PPV of each class when images are called by the model's rule.",
    "confusion_shares": "Rows add up to 100%; the diagonal is each class's sensitivity.",
    "confusion_counts": "Images by true and predicted class; shades follow the square root.",
    "roc": "Ranking by probability at every threshold, each class against the rest.",
    "pr": "Precision at every recall; a rare class starts from a low chance level.",
    "reliability": "Accuracy should equal confidence; hatched gaps show where it does not.",
    "model_metrics": "Intervals that overlap do not show that models are equal: "
    "see the paired differences.",
    "differences": "Blue circles: Holm-corrected p below 0.05. Grey diamonds: not shown to differ.",
    "macro_roc": "The mean of the one-vs-rest curves at each false positive rate.",
}
MAP_CAPTION = (
    "The brighter the overlay, the more evidence for the class that the model calls, scaled "
    "picture by picture; it shows where the model looks, not why. One picture a lesion."
)


@dataclass(frozen=True, eq=False)
class Figures:
    """What an evaluation found, each figure with its 95% interval.

    Attributes
    ----------
    metrics : every metric, of the model's own decision rule
    rules : rule -> the metrics of ``RULE_METRICS``, of every rule that the model has
    """

    metrics: dict[str, Interval]
    rules: dict[Rule, dict[str, Interval]]


def write_evaluation(
    predictions: Predictions,
    info: Mapping[str, Any],
    folder: Path,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Figures:
    """Evaluate one model and replace its folder: CSV, JSON, plots, gallery, HTML report.

    Parameters
    ----------
    predictions : of one split; without picture paths there is no gallery
    info : what was evaluated, JSON values; kept in ``metrics.json`` and shown in the
        report. Expected: ``split``, ``dataset_fingerprint``, ``weights_sha256``
    folder : such as ``evaluation_images/<model>``
    resamples, seed : of the bootstrap over lesions

    Raises
    ------
    DermaError
        When ``folder`` holds something else than results, or a picture is damaged.
    """
    with replacing_own_folder(folder, METRICS_FILE) as scratch:
        intervals = bootstrap_metrics(predictions, resamples, seed)
        rules = bootstrap_rules(predictions, resamples, seed)
        write_predictions_csv(predictions, scratch / PREDICTIONS_FILE)
        summary = evaluation_summary(predictions, intervals, rules, info, resamples, seed)
        write_json(summary, scratch / METRICS_FILE)
        models = (predictions,)
        galleries = [
            _gallery(
                "gallery_right", "Right with most confidence", models, confident_right(predictions)
            ),
            _gallery(
                "gallery_wrong", "Wrong with most confidence", models, confident_wrong(predictions)
            ),
        ]
        report = Report(
            title=f"Evaluation of {predictions.name}",
            subtitle=f"{extent(predictions)}, split '{info.get('split', 'unknown')}'",
            tables=evaluation_tables(predictions, intervals, rules),
            plots=_save_plots(evaluation_plots(predictions, intervals), scratch),
            galleries=_save_galleries(galleries, scratch),
            provenance=provenance_table({predictions.name: info}),
        )
        write_html(report, scratch / REPORT_FILE)
    return Figures(intervals, rules)


def write_comparison(
    models: Sequence[Predictions],
    infos: Sequence[Mapping[str, Any]],
    folder: Path,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare models on the same images and replace the folder of their comparison.

    Parameters
    ----------
    models : two or more, of the same images
    infos : one a model, as for ``write_evaluation``
    folder : such as ``evaluation_images/comparison``
    resamples, seed : of the bootstrap over lesions, the same for every model

    Raises
    ------
    DermaError
        As ``compare`` and ``write_evaluation`` do.
    """
    with replacing_own_folder(folder, METRICS_FILE) as scratch:
        comparison = compare(list(models), resamples, seed)
        names = [model.name for model in comparison.models]
        by_model = dict(zip(names, infos, strict=True))
        write_joint_csv(comparison.models, scratch / PREDICTIONS_FILE)
        summary = comparison_summary(comparison, by_model, resamples, seed)
        write_json(summary, scratch / METRICS_FILE)
        rows = disagreements(comparison.models)
        title = "Where the models disagree"
        galleries = [_gallery("gallery_disagreements", title, comparison.models, rows)]
        report = Report(
            title=f"Comparison of {', '.join(names)}",
            subtitle=extent(comparison.models[0]),
            tables=comparison_tables(comparison),
            plots=_save_plots(comparison_plots(comparison), scratch),
            galleries=_save_galleries(galleries, scratch),
            provenance=provenance_table(by_model),
        )
        write_html(report, scratch / REPORT_FILE)
    return comparison


def extent(predictions: Predictions) -> str:
    """Say how many images, lesions and classes there are."""
    return (
        f"{len(predictions.images):,} images of {predictions.lesion_count:,} lesions, "
        f"{len(predictions.classes)} classes"
    )


def _gallery(name: str, title: str, models: tuple[Predictions, ...], rows: list[int]) -> Gallery:
    return Gallery(name, title, MAP_CAPTION, make_cards(models, rows))


def _save_plots(figures: dict[str, Figure], folder: Path) -> list[Plot]:
    plots = []
    for name, figure in with_progress(list(figures.items()), "Drawing plots"):
        path = folder / f"{name}.png"
        save_png(figure, path)
        plots.append(Plot(path, CAPTIONS[name]))
    return plots


def _save_galleries(galleries: list[Gallery], folder: Path) -> list[Gallery]:
    """Save each gallery that has cards as one JPEG, and return those."""
    filled = [gallery for gallery in galleries if gallery.cards]
    for gallery in with_progress(filled, "Drawing galleries"):
        save_jpeg(plot_cards(gallery.cards, gallery.title), folder / f"{gallery.name}.jpg")
    return filled
