"""Everything that is kept of an evaluation or a comparison, in one folder each."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.decisions import Rule
from doctor_derma.evaluation import gallery
from doctor_derma.evaluation.bootstrap import (
    LEVEL,
    RESAMPLES,
    Interval,
    bootstrap_metrics,
    bootstrap_rules,
)
from doctor_derma.evaluation.comparison import Comparison, compare
from doctor_derma.evaluation.plots import classes, comparisons, curves
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import Predictions, write_predictions_csv
from doctor_derma.evaluation.tables import (
    Table,
    comparison_tables,
    evaluation_tables,
    provenance_table,
)
from doctor_derma.finite import strict_json
from doctor_derma.terminal import with_progress

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
REPORT_FILE = "report.html"
EXTERNAL_FOLDER = "external"
TEMPLATE = "report.html.jinja"
NOTICE = (
    "Not a medical device. These numbers describe a research model on one data set; "
    "do not use it to diagnose or to decide on treatment."
)
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
    "external": "The other set beside the home test images of the same classes, each with its "
    "95% interval.",
    "replicates": "The interval is of the mean, over seeds and lesions resampled; with few seeds "
    "it is rough. Blue circles: Holm-corrected p below 0.05. Grey diamonds: not shown to differ.",
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found, each number with its 95% interval.

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
) -> Evaluation:
    """Evaluate one model and replace its folder: CSV, JSON, plots, gallery, HTML report.

    What is in its subfolder ``external`` stays.

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
    with replacing_own_folder(folder, METRICS_FILE, keep=EXTERNAL_FOLDER) as scratch:
        intervals = bootstrap_metrics(predictions, resamples, seed)
        rules = bootstrap_rules(predictions, resamples, seed)
        write_predictions_csv(predictions, scratch / PREDICTIONS_FILE)
        summary = summarise(predictions, info, intervals, resamples, seed)
        summary["rules"] = {rule: as_numbers(found) for rule, found in rules.items()}
        write_report(
            scratch,
            summary,
            title=f"Evaluation of {predictions.name}",
            subtitle=f"{extent(predictions)}, split '{info.get('split', 'unknown')}'",
            tables=evaluation_tables(predictions, intervals, rules),
            provenance=provenance_table({predictions.name: info}),
            figures=evaluation_plots(predictions, intervals),
            models=(predictions,),
            galleries={
                "gallery_right": gallery.confident_right(predictions),
                "gallery_wrong": gallery.confident_wrong(predictions),
            },
        )
    return Evaluation(intervals, rules)


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
        first = comparison.models[0]
        by_model = {model.name: info for model, info in zip(comparison.models, infos, strict=True)}
        table = comparison.as_table()
        table.to_csv(scratch / PREDICTIONS_FILE, index=False, float_format="%.9g")
        summary = {
            **describe_sample(first, resamples, seed),
            "models": {
                name: {**info, "metrics": as_numbers(comparison.intervals[name])}
                for name, info in by_model.items()
            },
            "differences": [asdict(difference) for difference in comparison.differences],
            "mcnemar": [asdict(test) for test in comparison.mcnemar],
        }
        write_report(
            scratch,
            summary,
            title=f"Comparison of {', '.join(by_model)}",
            subtitle=extent(first),
            tables=comparison_tables(comparison),
            provenance=provenance_table(by_model),
            figures=comparison_plots(comparison),
            models=comparison.models,
            galleries={"gallery_disagreements": gallery.disagreements(comparison.models)},
        )
    return comparison


def evaluation_plots(
    predictions: Predictions, intervals: Mapping[str, Interval]
) -> dict[str, Figure]:
    """Draw one model's plots; each key is a file name without its suffix."""
    return {
        "confusion_shares": classes.plot_confusion_shares(predictions),
        "confusion_counts": classes.plot_confusion_counts(predictions),
        "roc": curves.plot_roc(predictions, intervals),
        "pr": curves.plot_pr(predictions, intervals),
        "by_class": classes.plot_by_class(predictions, intervals),
        "reliability": curves.plot_reliability(predictions, intervals),
    }


def comparison_plots(comparison: Comparison) -> dict[str, Figure]:
    """Draw the plots of several models; each key is a file name without its suffix."""
    return {
        "model_metrics": comparisons.plot_model_metrics(comparison),
        "differences": comparisons.plot_differences(comparison),
        "macro_roc": curves.plot_macro_roc(comparison),
    }


def write_report(
    folder: Path,
    summary: dict[str, Any],
    *,
    title: str,
    subtitle: str,
    tables: list[Table],
    provenance: Table,
    figures: Mapping[str, Figure],
    models: tuple[Predictions, ...] = (),
    galleries: Mapping[str, list[int]] = {},
) -> None:
    """Write ``metrics.json``, plots, galleries and, with all of it, ``report.html``.

    Parameters
    ----------
    summary : what ``metrics.json`` holds
    figures : keys are of ``CAPTIONS`` and name the files
    models, galleries : rows of the models' images; keys are of ``gallery.TITLES`` and name the
        files. One without rows is left out
    """
    write_json(summary, folder / METRICS_FILE)
    cards = {name: gallery.make_cards(models, rows) for name, rows in galleries.items() if rows}
    save_plots(figures, folder)
    gallery.save_galleries(cards, folder)
    write_page(
        folder / REPORT_FILE,
        TEMPLATE,
        title=title,
        subtitle=subtitle,
        notice=NOTICE,
        tables=tables,
        plots={folder / f"{name}.png": CAPTIONS[name] for name in figures},
        galleries={gallery.TITLES[name]: of for name, of in cards.items()},
        gallery_caption=gallery.MAP_CAPTION,
        provenance=provenance,
    )


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write one HTML file from a template of this package.

    Texts are escaped; pictures become data URIs by the filters ``png`` and ``jpeg``.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"png": _png_uri, "jpeg": _jpeg_uri}
    text = environment.get_template(template).render(**values)
    path.write_text(text, encoding="utf-8")


def save_plots(figures: Mapping[str, Figure], folder: Path) -> None:
    """Save each figure as a PNG; the keys are file names without their suffix."""
    for name, figure in with_progress(list(figures.items()), "Drawing plots"):
        save_png(figure, folder / f"{name}.png")


def write_json(summary: dict[str, Any], path: Path) -> None:
    """Write strict JSON: what is undefined (nan) becomes null."""
    path.write_text(strict_json(summary), encoding="utf-8")


def extent(predictions: Predictions) -> str:
    """Say how many images, lesions and classes there are."""
    return (
        f"{len(predictions.images):,} images of {predictions.lesion_count:,} lesions, "
        f"{len(predictions.classes)} classes"
    )


def as_numbers(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    """Return intervals for JSON: name -> value, low, high."""
    return {name: asdict(interval) for name, interval in intervals.items()}


def summarise(
    predictions: Predictions,
    info: Mapping[str, Any],
    metrics: Mapping[str, Interval],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Say of what and how the metrics of an evaluation are; they are those of ``rule``."""
    return {
        **info,
        "model": predictions.name,
        **describe_sample(predictions, resamples, seed),
        "rule": predictions.rule,
        "metrics": as_numbers(metrics),
    }


def describe_sample(
    predictions: Predictions, resamples: int, seed: int, unit: str = "lesion"
) -> dict[str, Any]:
    """Count images and lesions, in all and of each class; say what was resampled, how often."""
    return {
        "images": len(predictions.images),
        "lesions": predictions.lesion_count,
        "classes": {
            name: {"images": images, "lesions": lesions}
            for name, (images, lesions) in predictions.class_counts().items()
        },
        "bootstrap": {"unit": unit, "resamples": resamples, "seed": seed, "level": LEVEL},
    }


def _png_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _jpeg_uri(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=gallery.JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
