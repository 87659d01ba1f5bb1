"""What corrupted pictures cost: every figure at every severity, and the drop from clean."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from doctor_derma.audits.corrupted_predictions import predict_corrupted
from doctor_derma.audits.corruptions import CORRUPTIONS, SEVERITIES
from doctor_derma.audits.subset import stratified_subset
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    bootstrap_distributions,
    lesion_weights,
    measured,
    percentile_interval,
)
from doctor_derma.evaluation.metrics import LOWER_IS_BETTER
from doctor_derma.evaluation.predictions import PixelClassifier, Predictions
from doctor_derma.evaluation.tables import Table

CLEAN = "clean"
ALL = "all"
MEAN = "mean"
METRICS = ("accuracy", "balanced_accuracy", "macro_auc", "ece")
CHANGED = "decisions_changed"
_WORSE_IS_MORE = LOWER_IS_BETTER | {CHANGED}


def measure_robustness(
    classifier: PixelClassifier,
    predictions: Predictions,
    resamples: int = RESAMPLES,
    seed: int = 0,
    limit: int | None = None,
) -> pd.DataFrame:
    """Predict every picture under every corruption and severity, and compare with clean.

    A picture is corrupted at its own size, then scaled to the network's. The clean figures
    are those of ``predictions``.

    Parameters
    ----------
    classifier : the one that made ``predictions``
    predictions : of n images whose paths are known
    resamples, seed : of the bootstrap over lesions; ``seed`` also draws the subset
    limit : predict about so many images only, as ``stratified_subset`` draws them; the fewer
        lesions the rare classes have left, the rougher is balanced accuracy

    Returns
    -------
    One row a figure:

    - ``corruption``: a name of ``CORRUPTIONS``, ``clean``, or ``all`` for their mean
    - ``severity``: ``"0"`` for clean, ``"1"`` to ``"5"``, or ``"mean"`` over the five
    - ``metric``: ``accuracy``, ``balanced_accuracy``, ``macro_auc``, ``ece``, or
      ``decisions_changed``, the share of images that are called another class
    - ``value``, ``low``, ``high``: with its 95% interval
    - ``drop``, ``drop_low``, ``drop_high``: how much worse than clean, on the same draws of
      lesions; above 0 is worse for every metric
    - ``images``, ``lesions``: behind the figure

    A mean's interval is that of the mean of the same draws.

    Raises
    ------
    DermaError
        When a picture path is unknown, a picture can't be decoded, the classifier has
        other classes, or ``limit`` or ``resamples`` is less than 1.
    """
    clean = predictions if limit is None else stratified_subset(predictions, limit, seed)
    probabilities = predict_corrupted(classifier, clean)
    values, draws = _figures(clean, probabilities, resamples, seed)
    frame = pd.DataFrame(_rows(values, draws))
    return frame.assign(images=len(clean.images), lesions=clean.lesion_count)


def _figures(
    clean: Predictions, probabilities: np.ndarray, resamples: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return for each metric its values [1 + V] and draws [1 + V, R], clean first."""
    corrupted = (replace(clean, probabilities=p, activation_maps=None) for p in probabilities)
    models = [clean, *corrupted]
    found = [measured(model) for model in models]
    drawn = bootstrap_distributions(models, resamples, seed)
    values = {metric: np.array([one[metric] for one in found]) for metric in METRICS}
    draws = {metric: np.stack([one[metric] for one in drawn]) for metric in METRICS}
    changed = np.stack([model.predicted != clean.predicted for model in models]).astype(float)
    values[CHANGED] = changed.mean(axis=1)
    # The same seed gives the same draws of lesions, which have unequal numbers of images.
    weights = lesion_weights(clean.lesions, [1] * resamples, seed)
    draws[CHANGED] = np.concatenate([changed @ w.T / w.sum() for w in weights], axis=1)
    return values, draws


def _rows(values: dict[str, np.ndarray], draws: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    for corruption, severity, versions in _groups():
        for metric in values:
            value, draw = values[metric][versions].mean(), draws[metric][versions].mean(axis=0)
            sign = 1 if metric in _WORSE_IS_MORE else -1
            level = percentile_interval(value, draw)
            drop = percentile_interval(
                sign * (value - values[metric][0]), sign * (draw - draws[metric][0])
            )
            yield {
                "corruption": corruption,
                "severity": severity,
                "metric": metric,
                "value": level.value,
                "low": level.low,
                "high": level.high,
                "drop": drop.value + 0.0,  # Not -0.
                "drop_low": drop.low,
                "drop_high": drop.high,
            }


def _groups() -> Iterator[tuple[str, str, slice]]:
    """Name each figure's corruption and severity, and the versions that it is the mean of."""
    yield CLEAN, "0", slice(0, 1)
    for number, name in enumerate(CORRUPTIONS):
        first = 1 + number * len(SEVERITIES)
        for position, severity in enumerate(SEVERITIES, start=first):
            yield name, str(severity), slice(position, position + 1)
        yield name, MEAN, slice(first, first + len(SEVERITIES))
    yield ALL, MEAN, slice(1, None)


def robustness_table(frame: pd.DataFrame) -> Table:
    """Tabulate what each corruption costs on the mean of its five severities.

    Parameters
    ----------
    frame : as ``measure_robustness`` returns it
    """
    columns = {
        ("accuracy", "drop"): "Accuracy lost",
        ("balanced_accuracy", "drop"): "Balanced accuracy lost",
        (CHANGED, "value"): "Decisions changed",
    }
    rows = (
        (name, *(str(find_interval(frame, name, MEAN, *column)) for column in columns))
        for name in (*CORRUPTIONS, ALL)
    )
    accuracy, balanced = (find_interval(frame, CLEAN, "0", metric) for metric in METRICS[:2])
    return Table(
        f"Robustness on {frame['images'].iloc[0]:,} images of {frame['lesions'].iloc[0]:,} lesions",
        ("Corruption", *columns.values()),
        tuple(rows),
        f"Means over severities 1 to 5 (95% interval). Clean: accuracy {accuracy}, balanced "
        f"accuracy {balanced}. Lost: clean minus corrupted, on the same resampled lesions.",
    )


def find_interval(
    frame: pd.DataFrame, corruption: str, severity: str, metric: str, of: str = "value"
) -> Interval:
    """Look up one figure of ``measure_robustness``; ``of`` is ``value`` or ``drop``."""
    named = (frame["corruption"] == corruption) & (frame["severity"] == severity)
    limits = ("low", "high") if of == "value" else ("drop_low", "drop_high")
    found = frame.loc[named & (frame["metric"] == metric), [of, *limits]]
    return Interval(*found.to_numpy(dtype=float)[0].tolist())
