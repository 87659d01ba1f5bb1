"""Models in comparison on the same images: paired differences, intervals, p-values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    percentile_interval,
    resampled_metrics,
)
from doctor_derma.evaluation.metrics import HEADLINE_METRICS
from doctor_derma.evaluation.predictions import Predictions

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """One metric of ``second`` minus that of ``first``.

    ``p_value`` tests no difference; ``p_holm`` corrects it for the pairs of that metric.
    """

    first: str
    second: str
    metric: str
    interval: Interval
    p_value: float
    p_holm: float

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p is below 0.05."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True)
class McNemar:
    """Lesions that one of two models names rightly and the other wrongly."""

    first: str
    second: str
    only_first_right: int
    only_second_right: int
    p_value: float
    p_holm: float


Tested = TypeVar("Tested", bound=Difference | McNemar)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What ``compare`` found.

    Attributes
    ----------
    models : the predictions, all in the order of the first one's images
    intervals : model name -> metric -> interval, every metric
    differences : the headline metrics of every pair of models
    mcnemar : the lesion-level accuracy of every pair of models
    """

    models: tuple[Predictions, ...]
    intervals: dict[str, dict[str, Interval]]
    differences: tuple[Difference, ...]
    mcnemar: tuple[McNemar, ...]

    def as_table(self) -> pd.DataFrame:
        """Return one row an image: image, lesion, class, then of each model the label, its
        probability and whether it is correct, as ``<model>.label`` and so on."""
        first = self.models[0]
        names = np.array(first.classes)
        columns = {"image": first.images, "lesion": first.lesions, "class": names[first.labels]}
        for model in self.models:
            columns[f"{model.name}.label"] = names[model.predicted]
            columns[f"{model.name}.probability"] = model.confidence
            columns[f"{model.name}.correct"] = model.correct
        return pd.DataFrame(columns)


def compare(models: list[Predictions], resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compare models on the same images, lesions resampled jointly for all of them.

    Each model calls classes by its own decision rule.

    A difference's p-value is two-sided, from the same resamples as its interval: twice
    the smaller share of differences at or beyond 0, with one added to both counts, so
    that it is never 0: ``p = 2 min(#(d <= 0) + 1, #(d >= 0) + 1) / (R + 1)``, at most 1
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, chapter 4).
    Several pairs are corrected metric by metric (Holm, Scandinavian Journal of Statistics
    6, 1979).

    Raises
    ------
    DermaError
        When there are fewer than two models, two have one name, or their classes, images,
        lesions or true labels differ.
    """
    models = align_models(models)
    found = resampled_metrics(models, resamples, seed)
    intervals = {
        model.name: {metric: percentile_interval(of) for metric, of in values.items()}
        for model, values in zip(models, found, strict=True)
    }
    by_name = dict(zip(intervals, found, strict=True))
    differences: list[Difference] = []
    for metric in HEADLINE_METRICS:
        family = []
        for first, second in combinations(by_name, 2):
            change = by_name[second][metric] - by_name[first][metric]
            interval, p = percentile_interval(change), bootstrap_p_value(change[1:])
            family.append(Difference(first, second, metric, interval, p, p))
        differences += with_holm(family)
    tests = with_holm([mcnemar(*pair) for pair in combinations(models, 2)])
    return Comparison(tuple(models), intervals, tuple(differences), tuple(tests))


def bootstrap_p_value(differences: np.ndarray) -> float:
    """Return the two-sided p-value of ``compare`` for bootstrap differences [R]."""
    defined = differences[np.isfinite(differences)]
    fewest = min(np.sum(defined <= 0), np.sum(defined >= 0))
    return min(1.0, 2 * (int(fewest) + 1) / (len(defined) + 1))


def holm(p_values: list[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down method."""
    corrected = np.empty(len(p_values))
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected.tolist()


def with_holm(tests: Sequence[Tested]) -> list[Tested]:
    """Correct tests of one family for their number."""
    corrected = holm([test.p_value for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, corrected, strict=True)]


def mcnemar(first: Predictions, second: Predictions) -> McNemar:
    """Test equal accuracy by lesion: the exact McNemar test (McNemar, Psychometrika 12, 1947).

    A lesion counts once: it is called by the model's rule at the mean of the probabilities over
    its images, which keeps the cases independent. Where images of other classes share its name, as
    where a data set knows patients and not lesions, those of each class count as one lesion, and
    the cases are independent of each other only nearly. The models must be aligned.
    """
    first_right, second_right = _lesion_correct(first), _lesion_correct(second)
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return McNemar(first.name, second.name, only_first, only_second, p_value, p_value)


def _lesion_correct(predictions: Predictions) -> np.ndarray:
    labels = predictions.labels.astype(str)
    _, first_image, lesion_of, images = np.unique(
        np.char.add(np.char.add(labels, " "), predictions.lesions),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    summed = np.zeros((len(first_image), len(predictions.classes)))
    np.add.at(summed, lesion_of, predictions.probabilities)
    return predictions.decide(summed / images[:, None]) == predictions.labels[first_image]


def align_models(models: list[Predictions]) -> list[Predictions]:
    """Put the predictions of several models in the order of the first one's images.

    Raises
    ------
    DermaError
        As ``compare`` does.
    """
    if len(models) < 2:
        raise DermaError(f"compare: {len(models)} model given; name two or more")
    names = [model.name for model in models]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DermaError(f"compare: '{repeated[0]}' is given more than once; name it once")
    return [models[0], *(_in_order_of(models[0], model) for model in models[1:])]


def _in_order_of(first: Predictions, other: Predictions) -> Predictions:
    if other.classes != first.classes:
        raise DermaError(
            f"compare: {other.name} and {first.name} have different classes; "
            "compare models of one data set"
        )
    if sorted(other.images) != sorted(first.images):
        raise DermaError(
            f"compare: {other.name} and {first.name} were evaluated on different images; "
            "evaluate both on the same split"
        )
    rows = np.empty(len(first.images), dtype=np.int64)
    rows[np.argsort(first.images, kind="stable")] = np.argsort(other.images, kind="stable")
    aligned = other.take(rows)
    same_truth = np.array_equal(aligned.labels, first.labels)
    if not same_truth or not np.array_equal(aligned.lesions, first.lesions):
        raise DermaError(
            f"compare: {other.name} and {first.name} disagree on the true class or lesion of an "
            "image; evaluate both on the same data"
        )
    return aligned
