"""Intervals from a bootstrap over lesions.

Images of one lesion are alike, so lesions are drawn, not images: with every draw all
images of a lesion come along (the cluster bootstrap; Field and Welsh, Bootstrapping
clustered data, Journal of the Royal Statistical Society B 69, 2007).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from doctor_derma.decisions import Rule
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.metrics import (
    RULE_METRICS,
    weighted_decision_metrics,
    weighted_metrics,
)
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.terminal import with_progress

RESAMPLES = 1000
LEVEL = 0.95
CHUNK_RESAMPLES = 50
CHUNK_WEIGHTS = 4_000_000
# Case weights [R, n] -> float64 [R] a statistic.
Measure = Callable[[np.ndarray], dict[str, np.ndarray]]


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
    predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Compute every metric with its percentile interval over resampled lesions.

    Parameters
    ----------
    predictions : n images of L lesions
    resamples : number of bootstrap resamples, each of L lesions drawn with replacement
    seed : of the draws; the same seed and lesions give the same draws

    Notes
    -----
    A resample in which a metric is undefined (a class is absent) is left out of that
    metric's interval. The binned ECE grows with noise, so its resamples lie somewhat
    high, and its value can fall near or below the lower limit.

    Raises
    ------
    DermaError
        When ``resamples`` is below 1.
    """
    return bootstrap(predictions.lesions, _measure_of(predictions), resamples, seed)


def bootstrap(
    lesions: np.ndarray, measure: Measure, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Compute statistics of n images with their percentile intervals over resampled lesions.

    Parameters
    ----------
    lesions : str [n]
    measure : gives the statistics, for case weights [R, n]
    resamples, seed : as for ``bootstrap_metrics``, as are the errors

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
    [found] = resampled(lesions, [measure], resamples, seed)
    return {name: percentile_interval(of) for name, of in found.items()}


def resampled(
    lesions: np.ndarray, measures: Sequence[Measure], resamples: int, seed: int
) -> list[dict[str, np.ndarray]]:
    """Compute statistics of n images as they are, and on every resample of their lesions.

    Parameters
    ----------
    measures : each gets the same draws
    lesions, resamples, seed : as for ``bootstrap``, as are the errors

    Returns
    -------
    For each of ``measures``, float64 [1 + resamples, ...] a statistic; the first is that of
    the images as they are
    """
    sizes = chunk_sizes(resamples, len(lesions))
    chunks = chain([np.ones((1, len(lesions)))], lesion_weights(lesions, sizes, seed))
    parts = [
        [measure(weights) for measure in measures]
        for weights in with_progress(chunks, "Bootstrap over lesions", 1 + len(sizes))
    ]
    return [
        {name: np.concatenate([part[name] for part in of]) for name in of[0]}
        for of in zip(*parts, strict=True)
    ]


def bootstrap_rules(
    predictions: Predictions, resamples: int = RESAMPLES, seed: int = 0
) -> dict[Rule, dict[str, Interval]]:
    """Compute the metrics of ``RULE_METRICS`` under every rule that the model has.

    Parameters, intervals and draws are those of ``bootstrap_metrics``. Without the class of
    melanoma there are no figures of it.
    """
    p, rules = predictions, predictions.rules
    measures = [
        partial(weighted_decision_metrics, p.labels, p.decide(p.probabilities, rule), p.classes)
        for rule in rules
    ]
    found = resampled(p.lesions, measures, resamples, seed)
    return {
        rule: {name: percentile_interval(of[name]) for name in RULE_METRICS if name in of}
        for rule, of in zip(rules, found, strict=True)
    }


def resampled_metrics(
    models: Sequence[Predictions], resamples: int, seed: int
) -> list[dict[str, np.ndarray]]:
    """Compute every metric on every resample, with the same draws of lesions for each model.

    The models must have the same images in the same order. What is returned is, for each model,
    float64 [1 + resamples] a metric, as ``resampled`` gives it.
    """
    return resampled(models[0].lesions, list(map(_measure_of, models)), resamples, seed)


def _measure_of(of: Predictions) -> Measure:
    return partial(weighted_metrics, of.labels, of.probabilities, of.classes, decided=of.predicted)


def lesion_weights(lesions: np.ndarray, sizes: list[int], seed: int) -> Iterator[np.ndarray]:
    """Yield case weights [size, n]: how often each image's lesion was drawn in a resample."""
    names, lesion_of = np.unique(lesions, return_inverse=True)
    chances = np.full(len(names), 1 / len(names))
    generator = np.random.default_rng(seed)
    for size in sizes:
        drawn = generator.multinomial(len(names), chances, size=size)
        yield drawn[:, lesion_of].astype(np.float64)


def percentile_interval(values: np.ndarray) -> Interval:
    """Put the 95% percentile limits of bootstrap draws around a value.

    Parameters
    ----------
    values : float [1 + R], the value and then its draws, as ``resampled`` gives them

    Examples
    --------
    >>> import numpy as np
    >>> percentile_interval(np.array([0.5, *np.linspace(0, 1, 101)])).signed
    '+0.500 (+0.025 to +0.975)'
    """
    value, draws = float(values[0]), values[1:]
    defined = draws[np.isfinite(draws)]
    if np.isnan(value) or len(defined) == 0:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def chunk_sizes(resamples: int, images: int) -> list[int]:
    """Divide resamples into the sizes that ``lesion_weights`` draws at a time."""
    if resamples < 1:
        raise DermaError(f"resamples: {resamples} is too few; use 1 or more, such as {RESAMPLES}")
    size = min(CHUNK_RESAMPLES, max(1, CHUNK_WEIGHTS // images))
    whole, rest = divmod(resamples, size)
    return [size] * whole + ([rest] if rest else [])
