"""The figures of a group of images beside those that all other images have at its mix of classes.

Groups differ in their cases: faces hold more keratoses than backs, and a diagnosis that was
settled by follow-up is nearly always a nevus. So no figure of a group is held against the
plain figure of the others, but against the one they have with the same classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from doctor_derma.decisions import MELANOMA
from doctor_derma.evaluation.bootstrap import chunk_sizes, lesion_weights
from doctor_derma.evaluation.metrics import ratio, weighted_metrics
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.terminal import with_progress

# Lesions that a class needs, in the group and in the others, for a figure of its own.
CLASS_LESIONS = 5
# What each figure is made of, class by class: means over the images ...
IMAGE_MEANS = {"accuracy": "sensitivity", "overconfidence": "overconfidence"}
# ... and means over the classes, which need two classes, or one class alone.
CLASS_MEANS = {"macro_auc": "auc", "balanced_accuracy": "sensitivity"}
ONE_CLASS = {f"auc_{MELANOMA}": "auc", f"sensitivity_{MELANOMA}": "sensitivity"}


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the images.

    Attributes
    ----------
    images : number of images
    lesions, class_lesions : number of lesions, and of each class, int [K]
    metrics : name -> float64 [R + 1], first of the images as they are, then of R resamples.
        Those of `doctor_derma.evaluation.metrics`, ``overconfidence`` (mean of the
        greatest probability minus how often its class is the true one), also ``_<class>``, and
        ``cases_<class>``, the images of a class
    """

    images: int
    lesions: int
    class_lesions: np.ndarray
    metrics: dict[str, np.ndarray]


def resampled_parts(
    predictions: Predictions, parts: list[np.ndarray], resamples: int, seed: int
) -> list[Part]:
    """Compute the metrics of each part, bool [n], on the same draws of all lesions."""
    sizes = chunk_sizes(resamples, len(predictions.labels))
    as_it_is = np.ones((1, len(predictions.labels)))
    weights = chain([as_it_is], lesion_weights(predictions.lesions, sizes, seed))
    collected: list[list[dict[str, np.ndarray]]] = [[] for _ in parts]
    for chunk in with_progress(weights, "Comparing groups", 1 + len(sizes)):
        for members, results in zip(parts, collected, strict=True):
            results.append(_weighted(predictions, members, chunk))
    return [
        Part(
            int(members.sum()),
            len(np.unique(predictions.lesions[members])),
            _lesions_by_class(predictions, members),
            {name: np.concatenate([result[name] for result in results]) for name in results[0]},
        )
        for members, results in zip(parts, collected, strict=True)
    ]


def figures(
    metric: str, names: tuple[str, ...], part: Part, others: Part
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return a metric of a part and of the others, as they are and on each resample.

    - Accuracy and overconfidence: the others' mean of each class, averaged with the part's
      number of images of each class (direct standardisation). A class of which the others
      have fewer than ``CLASS_LESIONS`` lesions gets the part's own mean: it makes no gap.
    - Macro AUC and balanced accuracy: means over the classes of which both have at least
      ``CLASS_LESIONS`` lesions (for AUC also of other classes), if these are two or more.
      What an AUC ranks a class against is each side's own mix, so mixes still matter there.
    - Figures of melanoma: of a side with so many melanomas.
    - ECE: only of the part, as its size alone makes it larger or smaller.

    Parameters
    ----------
    names : the K class names
    part, others : of the same resamples

    Returns
    -------
    float64 [R + 1], of the part; float64 [R + 1], of the others; names of the classes that
    were averaged. Nan is what is undefined.
    """
    undefined = np.full_like(part.metrics["accuracy"], np.nan)
    if metric in IMAGE_MEANS:
        return part.metrics[metric], _expected(IMAGE_MEANS[metric], names, part, others), []
    if metric in ONE_CLASS:
        values = [
            side.metrics[metric]
            if MELANOMA in _enough(names, ONE_CLASS[metric], side)
            else undefined
            for side in (part, others)
        ]
        return values[0], values[1], []
    if metric not in CLASS_MEANS:
        return part.metrics[metric], undefined, []
    by_class = CLASS_MEANS[metric]
    shared = [
        name for name in _enough(names, by_class, part) if name in _enough(names, by_class, others)
    ]
    if len(shared) < 2:
        return undefined, undefined, []
    return _mean(by_class, shared, part), _mean(by_class, shared, others), shared


def _weighted(
    predictions: Predictions, members: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    labels, probabilities = predictions.labels[members], predictions.probabilities[members]
    own = weights[:, members]
    excess = probabilities.max(axis=1) - (probabilities.argmax(axis=1) == labels)
    cases = labels[:, None] == np.arange(len(predictions.classes))
    counts = own @ cases
    excesses = ratio(own @ (excess[:, None] * cases), counts)
    return {
        **weighted_metrics(
            labels, probabilities, predictions.classes, own, predictions.predicted[members]
        ),
        "overconfidence": ratio(own @ excess, own.sum(axis=1)),
        **_by_class("overconfidence", predictions.classes, excesses),
        **_by_class("cases", predictions.classes, counts),
    }


def _by_class(metric: str, names: Iterable[str], values: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{metric}_{name}": column for name, column in zip(names, values.T, strict=True)}


def _lesions_by_class(predictions: Predictions, members: np.ndarray) -> np.ndarray:
    return np.array(
        [
            len(np.unique(predictions.lesions[members & (predictions.labels == index)]))
            for index in range(len(predictions.classes))
        ]
    )


def _enough(names: tuple[str, ...], by_class: str, part: Part) -> list[str]:
    """Name the classes that a part has enough lesions of, for AUC also of other classes."""
    enough = part.class_lesions >= CLASS_LESIONS
    if by_class == "auc":
        enough &= part.class_lesions.sum() - part.class_lesions >= CLASS_LESIONS
    return [name for name, has in zip(names, enough, strict=True) if has]


def _mean(by_class: str, classes: list[str], part: Part) -> np.ndarray:
    values = np.stack([part.metrics[f"{by_class}_{name}"] for name in classes])
    # A class that a resample lacks is left out of that resample's mean.
    return ratio(np.nansum(values, axis=0), np.isfinite(values).sum(axis=0))


def _expected(by_class: str, names: tuple[str, ...], part: Part, others: Part) -> np.ndarray:
    """Average the others' values of the classes, weighted with the part's cases."""
    cases = np.stack([part.metrics[f"cases_{name}"] for name in names])
    own, theirs = (
        np.stack([side.metrics[f"{by_class}_{name}"] for name in names]) for side in (part, others)
    )
    known = np.isfinite(theirs) & (others.class_lesions >= CLASS_LESIONS)[:, None]
    values = np.where(known, theirs, own)
    return ratio(np.where(cases > 0, cases * values, 0).sum(axis=0), cases.sum(axis=0))
