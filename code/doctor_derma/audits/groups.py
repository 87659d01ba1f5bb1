"""What audits by group share: means over groups of images, and a group held against all others.

Groups differ in their cases: faces hold more keratoses than backs, and a diagnosis that was
settled by follow-up is nearly always a nevus. So no metric of a group is held against the
plain metric of the others, but against the one they have with the same classes.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from doctor_derma.decisions import MELANOMA
from doctor_derma.evaluation.bootstrap import Interval, percentile_interval, resampled
from doctor_derma.evaluation.metrics import ratio, weighted_metrics
from doctor_derma.evaluation.predictions import Predictions

ALL = "all"
UNKNOWN = "unknown"
# Lesions that a class needs, in the group and in the others, for a metric of its own.
CLASS_LESIONS = 5
# What each metric is made of, class by class: means over the images ...
IMAGE_MEANS = {"accuracy": "sensitivity", "overconfidence": "overconfidence"}
# ... and means over the classes, which need two classes, or one class alone.
CLASS_MEANS = {"macro_auc": "auc", "balanced_accuracy": "sensitivity"}
ONE_CLASS = {f"auc_{MELANOMA}": "auc", f"sensitivity_{MELANOMA}": "sensitivity"}


# What a group is, such as ``{"class": "mel"}``, and its members, bool [n].
Group = tuple[dict[str, str], np.ndarray]


def by_class(labels: np.ndarray, classes: Sequence[str]) -> list[Group]:
    """Return all images as a group, and those of each true class."""
    everyone = ({"class": ALL}, np.ones(len(labels), dtype=bool))
    return [everyone, *(({"class": name}, labels == k) for k, name in enumerate(classes))]


def group_means(
    values: np.ndarray,
    columns: Sequence[dict[str, Any]],
    groups: Sequence[Group],
    lesions: np.ndarray,
    resamples: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Average values over groups of images, with 95% percentile intervals.

    All values and groups share the draws of lesions, so that the interval of a column of
    differences is that of the paired difference.

    Parameters
    ----------
    values : float64 [n, m], m values of each of n images
    columns : m, what each value is, such as ``{"measure": "size"}``
    groups : such as ``by_class`` returns
    lesions : str [n], lesion of each image
    resamples, seed : of the bootstrap over lesions; fewer than 1 raise `DermaError`

    Returns
    -------
    One row a group and value: what they are, ``images``, ``lesions``, ``value``, ``low``,
    ``high``; nan for an empty group
    """

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:  # [R, n] to [R, groups, m]
        means = [
            ratio(weights[:, of] @ values[of], weights[:, of].sum(axis=1, keepdims=True))
            for _, of in groups
        ]
        return {"": np.stack(means, axis=1)}

    [found] = resampled(lesions, [measure], resamples, seed)
    rows = []
    for row, (group, of) in enumerate(groups):
        counts = {"images": int(of.sum()), "lesions": len(np.unique(lesions[of]))}
        for column, name in enumerate(columns):
            mean = percentile_interval(found[""][:, row, column])
            rows.append(group | name | counts | vars(mean))
    return pd.DataFrame(rows)


Rows = dict[tuple[Any, ...], dict[Hashable, Any]]


def rows_by(frame: pd.DataFrame, *keys: str) -> Rows:
    """Return the rows of a frame by their values of some columns."""
    return {tuple(row[key] for key in keys): row for row in frame.to_dict("records")}


def interval_of(row: Mapping[Any, Any] | pd.Series, value: str = "value") -> Interval:
    """Return ``value`` of a row with its limits, ``low`` and ``high`` or ``<value>_low`` ..."""
    limits = ("low", "high") if value == "value" else (f"{value}_low", f"{value}_high")
    return Interval(*(float(row[name]) for name in (value, *limits)))


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the images.

    Attributes
    ----------
    images, lesions, class_lesions : their numbers, the last of each class, int [K]
    metrics : name -> float64 [R + 1], of the images as they are and on R resamples. Those of
        `doctor_derma.evaluation.metrics`; ``overconfidence`` (mean of the greatest probability
        minus how often its class is the true one), also ``_<class>``; ``cases_<class>``, the
        images of a class
    """

    images: int
    lesions: int
    class_lesions: np.ndarray
    metrics: dict[str, np.ndarray]


def resampled_parts(
    predictions: Predictions, parts: list[np.ndarray], resamples: int, seed: int
) -> list[Part]:
    """Compute the metrics of each part, bool [n], on the same draws of all lesions."""
    unmapped = replace(predictions, activation_maps=None)
    sides = [unmapped.take(np.flatnonzero(members)) for members in parts]
    measures = [
        partial(_weighted, side, members) for side, members in zip(sides, parts, strict=True)
    ]
    found = resampled(predictions.lesions, measures, resamples, seed)
    return [
        Part(
            len(side.images),
            side.lesion_count,
            np.array([lesions for _, lesions in side.class_counts().values()]),
            metrics,
        )
        for side, metrics in zip(sides, found, strict=True)
    ]


def compare_part(
    metric: str, names: tuple[str, ...], part: Part, others: Part
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return a metric of a part and of the others, as they are and on each resample.

    - Accuracy and overconfidence: the others' mean of each class, averaged with the part's
      number of images of each class (direct standardisation). A class of which the others
      have fewer than ``CLASS_LESIONS`` lesions gets the part's own mean: it makes no gap.
    - Macro AUC and balanced accuracy: means over the classes of which both have at least
      ``CLASS_LESIONS`` lesions (for AUC also of other classes), if these are two or more.
      What an AUC ranks a class against is each side's own mix, so mixes still matter there.
    - Metrics of melanoma: of a side with so many melanomas.
    - ECE: only of the part, as its size alone makes it larger or smaller.

    ``names`` are those of the K classes; both parts are of the same resamples.

    Returns
    -------
    float64 [R + 1] of the part and of the others, nan where undefined, and the names of the
    classes that were averaged
    """
    own, theirs = part.metrics[metric], others.metrics[metric]
    undefined = np.full_like(own, np.nan)
    if of_class := IMAGE_MEANS.get(metric):
        return own, _expected(of_class, names, part, others), []
    if of_class := ONE_CLASS.get(metric):
        has, have = (MELANOMA in _enough(names, of_class, side) for side in (part, others))
        return own if has else undefined, theirs if have else undefined, []
    if of_class := CLASS_MEANS.get(metric):
        common = set(_enough(names, of_class, others))
        shared = [name for name in _enough(names, of_class, part) if name in common]
        if len(shared) < 2:
            return undefined, undefined, []
        return _mean(of_class, shared, part), _mean(of_class, shared, others), shared
    return own, undefined, []


def _weighted(part: Predictions, members: np.ndarray, of_all: np.ndarray) -> dict[str, np.ndarray]:
    weights = of_all[:, members]
    labels, probabilities, classes = part.labels, part.probabilities, part.classes
    excess = probabilities.max(axis=1) - (probabilities.argmax(axis=1) == labels)
    cases = labels[:, None] == np.arange(len(classes))
    counts = weights @ cases
    excesses = ratio(weights @ (excess[:, None] * cases), counts)
    return {
        **weighted_metrics(labels, probabilities, classes, weights, part.predicted),
        "overconfidence": ratio(weights @ excess, weights.sum(axis=1)),
        **{f"overconfidence_{name}": excesses[:, k] for k, name in enumerate(classes)},
        **{f"cases_{name}": counts[:, k] for k, name in enumerate(classes)},
    }


def _enough(names: tuple[str, ...], of_class: str, part: Part) -> list[str]:
    """Name the classes that a part has enough lesions of, for AUC also of other classes."""
    enough = part.class_lesions >= CLASS_LESIONS
    if of_class == "auc":
        enough &= part.class_lesions.sum() - part.class_lesions >= CLASS_LESIONS
    return [name for name, has in zip(names, enough, strict=True) if has]


def _mean(of_class: str, classes: list[str], part: Part) -> np.ndarray:
    values = np.stack([part.metrics[f"{of_class}_{name}"] for name in classes])
    # A class that a resample lacks is left out of that resample's mean.
    return ratio(np.nansum(values, axis=0), np.isfinite(values).sum(axis=0))


def _expected(of_class: str, names: tuple[str, ...], part: Part, others: Part) -> np.ndarray:
    """Average the others' values of the classes, weighted with the part's cases."""
    cases, own, theirs = (
        np.stack([side.metrics[f"{of}_{name}"] for name in names])
        for side, of in ((part, "cases"), (part, of_class), (others, of_class))
    )
    known = np.isfinite(theirs) & (others.class_lesions >= CLASS_LESIONS)[:, None]
    values = np.where(known, theirs, own)
    return ratio(np.where(cases > 0, cases * values, 0).sum(axis=0), cases.sum(axis=0))
