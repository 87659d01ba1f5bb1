"""Everything that is kept of an evaluation or a comparison, in one folder each."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.decisions import Rule
from doctor_derma.evaluation.bootstrap import (
    LEVEL,
    RESAMPLES,
    Interval,
    bootstrap_metrics,
    bootstrap_rules,
)
from doctor_derma.evaluation.comparison import Comparison, compare
from doctor_derma.evaluation.gallery import (
    Card,
    confident_right,
    confident_wrong,
    disagreements,
    make_cards,
    plot_cards,
    save_jpeg,
)
from doctor_derma.evaluation.plots.classes import (
    plot_by_class,
    plot_confusion_counts,
    plot_confusion_shares,
)
from doctor_derma.evaluation.plots.comparisons import plot_differences, plot_model_metrics
from doctor_derma.evaluation.plots.curves import plot_macro_roc, plot_pr, plot_reliability, plot_roc
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import Predictions, write_predictions_csv
from doctor_derma.evaluation.tables import (
    Table,
    comparison_tables,
    evaluation_tables,
    provenance_table,
)
from doctor_derma.terminal import with_progress

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


TEMPLATE = "report.html.jinja"
NOTICE = (
    "Not a medical device. These numbers describe a research model on one data set; "
    "do not use it to diagnose or to decide on treatment."
)
JPEG_QUALITY = 85


@dataclass(frozen=True)
class Plot:
    """A PNG file with a sentence on how to read it."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Cards under a title, with a sentence on how to read them; ``name`` is for its file."""

    name: str
    title: str
    caption: str
    cards: list[Card]


@dataclass(frozen=True)
class Report:
    """The contents of a report, in reading order."""

    title: str
    subtitle: str
    tables: list[Table]
    plots: list[Plot]
    galleries: list[Gallery]
    provenance: Table


def write_html(report: Report, path: Path) -> None:
    """Fill the template; every text is escaped and every picture embedded as a data URI."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = _png_uri
    environment.filters["jpeg"] = _jpeg_uri
    text = environment.get_template(TEMPLATE).render(report=report, notice=NOTICE)
    path.write_text(text, encoding="utf-8")


def _png_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _jpeg_uri(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"


def evaluation_summary(
    predictions: Predictions,
    intervals: dict[str, Interval],
    rules: Mapping[Rule, Mapping[str, Interval]],
    info: Mapping[str, Any],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Sum up one model: its provenance, the cases, and every metric with its interval.

    ``metrics`` are those of the model's own decision rule, which ``rule`` names; ``rules`` has
    the figures of every rule that it has.
    """
    return {
        **info,
        "model": predictions.name,
        **count_cases(predictions),
        "bootstrap": describe_bootstrap(resamples, seed),
        "rule": predictions.rule,
        "metrics": {name: asdict(interval) for name, interval in intervals.items()},
        "rules": {
            rule: {name: asdict(interval) for name, interval in figures.items()}
            for rule, figures in rules.items()
        },
    }


def comparison_summary(
    comparison: Comparison, infos: Mapping[str, Mapping[str, Any]], resamples: int, seed: int
) -> dict[str, Any]:
    """Sum up several models: each one's metrics, then differences and tests of every pair."""
    return {
        **count_cases(comparison.models[0]),
        "bootstrap": describe_bootstrap(resamples, seed),
        "models": {
            name: {
                **infos[name],
                "metrics": {metric: asdict(interval) for metric, interval in intervals.items()},
            }
            for name, intervals in comparison.intervals.items()
        },
        "differences": [asdict(difference) for difference in comparison.differences],
        "mcnemar": [asdict(test) for test in comparison.mcnemar],
    }


def write_json(summary: dict[str, Any], path: Path) -> None:
    """Write strict JSON: what is undefined (nan) becomes null."""
    path.write_text(json.dumps(_without_nan(summary), indent=2, allow_nan=False) + "\n")


def write_joint_csv(models: tuple[Predictions, ...], path: Path) -> None:
    """Write one row an image: image, lesion, class, then label, probability of that label
    and correct for each of the aligned models, as ``<model>.label`` and so on."""
    first = models[0]
    names = np.array(first.classes)
    columns: dict[str, np.ndarray] = {
        "image": first.images,
        "lesion": first.lesions,
        "class": names[first.labels],
    }
    for model in models:
        columns[f"{model.name}.label"] = names[model.predicted]
        columns[f"{model.name}.probability"] = model.confidence
        columns[f"{model.name}.correct"] = model.correct
    pd.DataFrame(columns).to_csv(path, index=False, float_format="%.9g")


def count_cases(predictions: Predictions) -> dict[str, Any]:
    """Count images and lesions, in all and of each class."""
    return {
        "images": len(predictions.images),
        "lesions": predictions.lesion_count,
        "classes": {
            name: {"images": images, "lesions": lesions}
            for name, (images, lesions) in predictions.class_counts().items()
        },
    }


def describe_bootstrap(resamples: int, seed: int) -> dict[str, Any]:
    """Say what was resampled, and how often."""
    return {"unit": "lesion", "resamples": resamples, "seed": seed, "level": LEVEL}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
