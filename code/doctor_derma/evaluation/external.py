"""A model judged on another set than its own: other clinics, fewer classes, other class shares.

The home figures beside are of the model's own test split, restricted to the classes that the other
set has, so that both columns mean the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.decisions import MELANOMA
from doctor_derma.evaluation import metrics, report
from doctor_derma.evaluation.bootstrap import RESAMPLES, Interval, bootstrap
from doctor_derma.evaluation.calibration import estimate_class_shares, with_class_shares
from doctor_derma.evaluation.gallery import confident_wrong
from doctor_derma.evaluation.operating_points import QUESTIONS
from doctor_derma.evaluation.plots.comparisons import plot_intervals
from doctor_derma.evaluation.predictions import Predictions, write_predictions_csv
from doctor_derma.evaluation.tables import (
    BOOTSTRAP_NOTE,
    Table,
    class_tables,
    provenance_table,
    with_arrow,
)
from doctor_derma.inference.conformal import prediction_sets

GROUPS = {MELANOMA: "Melanoma", "malignant": "Malignant"}
GROUP_METRICS = {
    "auc": "ROC AUC",
    "average_precision": "average precision",
    "sensitivity_at_90_specificity": "sensitivity at 90% specificity",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
ANSWER_METRICS = {
    "answered": "Share answered",
    "accuracy_answered": "Accuracy of the answered",
    "out_of_distribution": "Share out of distribution",
    "set_coverage": "True class in the prediction set",
}
# What a correction of the class shares changes.
LABEL_SHIFT_METRICS = (
    *("accuracy", "balanced_accuracy", "ece", "brier", "log_loss"),
    *(f"{kind}_{group}" for group in GROUPS for kind in ("sensitivity", "specificity")),
)


@dataclass(frozen=True, eq=False)
class ExternalEvaluation:
    """What was found on another set, each number with its 95% interval.

    Attributes
    ----------
    metrics : all metrics, with those of malignant against benign and of the answers
    home : the same of the home test images of these classes; None where they are unknown
    uncorrected, corrected : where the most probable class is called, of the probabilities as they
        are, and corrected for the class shares
    shares : kind -> class -> share of the images: ``assumed`` by the model, ``estimated`` by the
        correction, ``observed``
    """

    metrics: dict[str, Interval]
    home: dict[str, Interval] | None
    uncorrected: dict[str, Interval]
    corrected: dict[str, Interval]
    shares: dict[str, dict[str, float]]


def evaluate_external(
    predictions: Predictions,
    home: Predictions | None,
    class_shares: np.ndarray,
    set_threshold: float | Sequence[float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ExternalEvaluation:
    """Measure a model on another set, at home on the same classes, and after label shift.

    Parameters
    ----------
    predictions : of the other set, n images; ``classes`` are all K of the model
    home : of the model's own test split
    class_shares : float [K], the shares for which the probabilities are right; see
        ``assumed_shares``
    set_threshold : of the model's prediction sets, or one a class
    resamples, seed : of the bootstrap over lesions
    """
    if home is not None:
        rows = np.flatnonzero(np.isin(home.labels, predictions.labels))
        home = home.take(rows) if len(rows) else None
    estimated = estimate_class_shares(predictions.probabilities, class_shares)
    adjusted = with_class_shares(predictions.probabilities, class_shares, estimated)
    plain = replace(predictions, rulebook=None)
    counts = np.bincount(predictions.labels, minlength=len(predictions.classes))
    shares = {"assumed": class_shares, "estimated": estimated, "observed": counts / counts.sum()}

    def measured(of: Predictions) -> dict[str, Interval]:
        return bootstrap(of.lesions, external_metrics(of, set_threshold), resamples, seed)

    return ExternalEvaluation(
        metrics=measured(predictions),
        home=None if home is None else measured(home),
        uncorrected=measured(plain),
        corrected=measured(replace(plain, probabilities=adjusted)),
        shares={
            kind: dict(zip(predictions.classes, of.tolist(), strict=True))
            for kind, of in shares.items()
        },
    )


def assumed_shares(
    class_shares: Sequence[float] | np.ndarray, prior_weight: float, temperature: float
) -> np.ndarray:
    r"""Return the class shares that a bundle's probabilities are for, float64 [K].

    They count the shares :math:`\pi_k` of the training images with the exponent s / T, of the
    prior weight and the temperature (see `doctor_derma.decisions.balanced_scores`).
    """
    shares = np.asarray(class_shares, dtype=np.float64)
    counted = np.where(shares > 0, np.maximum(shares, 1e-12) ** (prior_weight / temperature), 0)
    return counted / counted.sum()


def external_metrics(
    predictions: Predictions, set_threshold: float | Sequence[float]
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return what computes all metrics for case weights [R, n].

    Beside those of ``weighted_metrics`` they are ``<metric>_malignant``, of the summed probability
    of the malignant classes and of calls of any of them, and of the answers: a picture is answered
    where its prediction set is one class and it is not out of distribution.
    """
    p = predictions
    called = p.predicted
    inside = prediction_sets(p.probabilities, set_threshold, called)
    everyone = np.full(len(p.labels), True)
    # Name -> the images that are counted, and those of which they are a share.
    shares = {"set_coverage": (inside[np.arange(len(inside)), p.labels], everyone)}
    if p.ood is not None:
        outside = p.ood > 1
        answered = (inside.sum(axis=1) == 1) & ~outside
        shares |= {
            "answered": (answered, everyone),
            "accuracy_answered": (answered & p.correct, answered),
            "out_of_distribution": (outside, everyone),
        }
    # Malignant against benign, as two classes.
    is_malignant = np.isin(p.classes, list(QUESTIONS["malignant"]))
    score = p.probabilities[:, is_malignant].sum(axis=1)
    two = {
        "labels": is_malignant[p.labels].astype(int),
        "probabilities": np.stack([1 - score, score], axis=1),
        "decided": is_malignant[called].astype(int),
    }

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = metrics.weighted_metrics(p.labels, p.probabilities, p.classes, weights, called)
        if is_malignant.any():
            grouped = metrics.weighted_metrics(
                **two, classes=("benign", "malignant"), weights=weights
            )
            found |= {f"{name}_malignant": grouped[f"{name}_malignant"] for name in GROUP_METRICS}
        return found | {
            name: metrics.ratio(weights @ part, weights @ whole)
            for name, (part, whole) in shares.items()
        }

    return measure


def write_external_evaluation(
    predictions: Predictions,
    home: Predictions | None,
    class_shares: np.ndarray,
    set_threshold: float | Sequence[float],
    info: Mapping[str, Any],
    folder: Path,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[ExternalEvaluation, list[Table]]:
    """Evaluate a model on another set, and replace the folder of that evaluation.

    Written are ``metrics.json``, ``predictions.csv``, plots, a gallery where there are picture
    paths, and ``report.html``; returned is what was found, and the same as tables.

    Parameters
    ----------
    predictions, home, class_shares, set_threshold, resamples, seed : as for ``evaluate_external``
    info : what was evaluated, JSON values. Expected: ``set``, ``weights_sha256``
    folder : such as ``evaluation_images/<model>/external/<set>``

    Raises
    ------
    DermaError
        When ``folder`` holds something else than results, or a picture is damaged.
    """
    with replacing_own_folder(folder, report.METRICS_FILE) as scratch:
        found = evaluate_external(predictions, home, class_shares, set_threshold, resamples, seed)
        write_predictions_csv(predictions, scratch / report.PREDICTIONS_FILE)
        summary = {
            **report.summarise(predictions, info, found.metrics, resamples, seed),
            "home": None if found.home is None else report.as_numbers(found.home),
            "label_shift": {
                "method": "EM (Saerens et al., 2002)",
                "shares": found.shares,
                "uncorrected": report.as_numbers(found.uncorrected),
                "corrected": report.as_numbers(found.corrected),
            },
        }
        tables = external_tables(predictions, found, info)
        sides = {str(info["set"]): found.metrics} | ({"home": found.home} if found.home else {})
        titles = external_titles(found.metrics)
        shown = {
            name: title for name, title in titles.items() if name not in metrics.LOWER_IS_BETTER
        }
        beside = plot_intervals(sides, shown, f"{predictions.name} on another set")
        report.write_report(
            scratch,
            summary,
            title=f"{predictions.name} on {info['set']}",
            subtitle=f"{report.extent(predictions)}, another set than the model's own",
            tables=tables,
            provenance=provenance_table({predictions.name: info}),
            figures={**report.evaluation_plots(predictions, found.metrics), "external": beside},
            models=(predictions,),
            galleries={"gallery_wrong": confident_wrong(predictions)},
        )
    return found, tables


def external_tables(
    predictions: Predictions, found: ExternalEvaluation, info: Mapping[str, Any]
) -> list[Table]:
    """Tabulate the set beside home, the correction of label shift, and the classes."""
    titles = external_titles(found.metrics)
    columns = {str(info["set"]): found.metrics}
    if found.home is not None:
        columns["Home, same classes"] = found.home
    note = BOOTSTRAP_NOTE
    if found.home is None:
        note += f" Home figures are unknown: 'derma evaluate {predictions.name}' keeps them."
    elif "answered" not in found.home:
        note += f" What is missing at home 'derma evaluate {predictions.name}' adds."
    beside = Table(
        f"{predictions.name} on {report.extent(predictions)} (95% interval)",
        ("Metric", *columns),
        tuple(
            (title, *(str(of[metric]) if metric in of else "unknown" for of in columns.values()))
            for metric, title in titles.items()
        ),
        f"{note} Accuracies are of the rule {predictions.rule}.",
    )
    shift = Table(
        "Most probable class, before and after label-shift correction (95% interval)",
        ("Metric", "As it is", "Corrected"),
        tuple(
            (titles[name], str(found.uncorrected[name]), str(found.corrected[name]))
            for name in LABEL_SHIFT_METRICS
            if name in titles
        ),
        "The correction knows no labels: it estimates the class shares from the probabilities "
        "(Saerens et al., 2002), and is right where the set differs in nothing but them. The "
        "intervals take the estimate for fixed.",
    )
    shares = Table(
        "Class shares",
        ("Class", "Assumed by the model", "Estimated", "Observed"),
        tuple(
            (name, *(f"{of[name]:.1%}" for of in found.shares.values()))
            for name in predictions.classes
        ),
    )
    return [beside, shift, shares, *class_tables(predictions, found.metrics)]


def external_titles(found: Mapping[str, Interval]) -> dict[str, str]:
    """Name the metrics that are told first: overall, melanoma, malignant, answers."""
    titles = {name: with_arrow(name, title) for name, title in metrics.OVERALL_METRICS.items()}
    titles |= {
        f"{metric}_{group}": with_arrow(metric, f"{title}, {of}")
        for group, title in GROUPS.items()
        for metric, of in GROUP_METRICS.items()
    }
    return {name: title for name, title in (titles | ANSWER_METRICS).items() if name in found}
