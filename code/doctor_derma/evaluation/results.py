"""The files of results that programs read: metrics.json, predictions.csv and their folder."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from doctor_derma.decisions import Rule
from doctor_derma.evaluation.bootstrap import LEVEL, Interval
from doctor_derma.evaluation.comparison import Comparison
from doctor_derma.evaluation.predictions import Predictions

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
