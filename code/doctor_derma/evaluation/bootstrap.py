"""Intervals from a bootstrap over lesions.

Images of one lesion are alike, so lesions are drawn, not images: with every draw all
images of a lesion come along (the cluster bootstrap; Field and Welsh, Bootstrapping
clustered data, Journal of the Royal Statistical Society B 69, 2007).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from doctor_derma.decisions import Rule
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.metrics import (
    RULE_METRICS,
    classification_metrics,
    weighted_decision_metrics,
    weighted_metrics,
)
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.terminal import with_progress

RESAMPLES = 1000
LEVEL = 0.95
CHUNK_RESAMPLES = 50
CHUNK_WEIGHTS = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A value with the limits of its interval; all nan where it is undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "undefined"
        return f"{self.value:.3f} ({self.low:.3f}\N{EN DASH}{self.high:.3f})"

    @property
    def signed(self) -> str:
        """The interval of a difference, each number with its sign."""
        if np.isnan(self.value):
            return "undefined"
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def bootstrap_metrics(
    predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, Interval]:
    """Compute every metric with its percentile interval over resampled lesions.

    Parameters
    ----------
    predictions : n images of L lesions
    resamples : number of bootstrap resamples, each of L lesions drawn with replacement
    seed : of the draws; the same seed and lesions give the same draws
    level : coverage aimed at, within 0 and 1

    Notes
    -----
    A resample in which a metric is undefined (a class is absent) is left out of that
    metric's interval. The binned ECE grows with noise, so its resamples lie somewhat
    high, and its value can fall near or below the lower limit.

    Raises
    ------
    DermaError
        When ``resamples`` or ``level`` is out of range.
    """
    called = predictions.predicted

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        labels, probabilities = predictions.labels, predictions.probabilities
        return weighted_metrics(labels, probabilities, predictions.classes, weights, called)

    return bootstrap(predictions.lesions, measure, resamples, seed, level)


def bootstrap(
    lesions: np.ndarray,
    measure: Callable[[np.ndarray], dict[str, np.ndarray]],
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Compute statistics of n images with their percentile intervals over resampled lesions.

    Parameters
    ----------
    lesions : str [n]
    measure : gives float64 [R] a statistic, for case weights [R, n]
    resamples, seed, level : as for ``bootstrap_metrics``

    Raises
    ------
    DermaError
        When ``resamples`` or ``level`` is out of range.

    Examples
    --------
    Eight images, but of two lesions, one always right and one always wrong: they say little.

    >>> import numpy as np
    >>> lesions, correct = np.repeat(["a", "b"], 4), np.repeat([1, 0], 4)
    >>> def measure(weights):
    ...     return {"accuracy": weights @ correct / weights.sum(axis=1)}
    >>> bootstrap(lesions, measure)["accuracy"]
    Interval(value=0.5, low=0.0, high=1.0)
    """
    sizes = chunk_sizes(resamples, len(lesions))
    chunks = chain([np.ones((1, len(lesions)))], lesion_weights(lesions, sizes, seed))
    parts = [
        measure(weights)
        for weights in with_progress(chunks, "Bootstrap over lesions", 1 + len(sizes))
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        name: percentile_interval(float(values[0]), values[1:], level)
        for name, values in found.items()
    }


def bootstrap_rules(
    predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[Rule, dict[str, Interval]]:
    """Compute the metrics of ``RULE_METRICS`` under every rule that the model has.

    Parameters, intervals and draws are those of ``bootstrap_metrics``. Without the class of
    melanoma there are no figures of it.
    """
    labels, classes = predictions.labels, predictions.classes

    def measured_by(called: np.ndarray) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
        def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
            found = weighted_decision_metrics(labels, called, classes, weights)
            return {name: found[name] for name in RULE_METRICS if name in found}

        return measure

    return {
        rule: bootstrap(
            predictions.lesions,
            measured_by(predictions.decide(predictions.probabilities, rule)),
            *(resamples, seed, level),
        )
        for rule in predictions.rules
    }


def measured(predictions: Predictions) -> dict[str, float]:
    """Compute every metric of the images as they are."""
    return classification_metrics(
        predictions.labels, predictions.probabilities, predictions.classes, predictions.predicted
    )


def bootstrap_distributions(
    models: list[Predictions], resamples: int, seed: int
) -> list[dict[str, np.ndarray]]:
    """Compute every metric on every resample, with the same draws of lesions for each model.

    The models must have the same images in the same order.

    Returns
    -------
    For each model, float64 [resamples] a metric
    """
    chunks: list[list[dict[str, np.ndarray]]] = [[] for _ in models]
    decided = [model.predicted for model in models]
    sizes = chunk_sizes(resamples, len(models[0].labels))
    weight_chunks = lesion_weights(models[0].lesions, sizes, seed)
    for weights in with_progress(weight_chunks, "Bootstrap over lesions", len(sizes)):
        for model, called, collected in zip(models, decided, chunks, strict=True):
            collected.append(
                weighted_metrics(model.labels, model.probabilities, model.classes, weights, called)
            )
    return [
        {name: np.concatenate([chunk[name] for chunk in collected]) for name in collected[0]}
        for collected in chunks
    ]


def lesion_weights(lesions: np.ndarray, sizes: list[int], seed: int) -> Iterator[np.ndarray]:
    """Yield case weights [size, n]: how often each image's lesion was drawn in a resample."""
    names, lesion_of = np.unique(lesions, return_inverse=True)
    chances = np.full(len(names), 1 / len(names))
    generator = np.random.default_rng(seed)
    for size in sizes:
        drawn = generator.multinomial(len(names), chances, size=size)
        yield drawn[:, lesion_of].astype(np.float64)


def percentile_interval(value: float, draws: np.ndarray, level: float = LEVEL) -> Interval:
    """Put the percentile limits of bootstrap draws around a value.

    Examples
    --------
    >>> import numpy as np
    >>> percentile_interval(0.5, np.linspace(0, 1, 101), level=0.9).signed
    '+0.500 (+0.050 to +0.950)'
    """
    if not 0 < level < 1:
        raise DermaError(f"level: {level} is not within 0 and 1; use one such as {LEVEL}")
    defined = draws[np.isfinite(draws)]
    if np.isnan(value) or len(defined) == 0:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def chunk_sizes(resamples: int, images: int) -> list[int]:
    """Divide resamples into the sizes that ``lesion_weights`` draws at a time."""
    if resamples < 1:
        raise DermaError(f"resamples: {resamples} is too few; use 1 or more, such as {RESAMPLES}")
    size = min(CHUNK_RESAMPLES, max(1, CHUNK_WEIGHTS // images))
    whole, rest = divmod(resamples, size)
    return [size] * whole + ([rest] if rest else [])
