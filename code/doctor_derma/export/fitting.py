"""What a bundle fits to its network's outputs, on images that training has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from doctor_derma.bundle import Conformal
from doctor_derma.decisions import MELANOMA, Costs, Rule, Rulebook, melanoma_threshold
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    chunk_sizes,
    lesion_weights,
    percentile_interval,
)
from doctor_derma.evaluation.metrics import (
    RULE_METRICS,
    SPECIFICITY,
    classification_metrics,
    weighted_decision_metrics,
)
from doctor_derma.export.calibrating import Calibration, calibrate
from doctor_derma.export.decision import Decision, Expected, MelanomaFirst, RuleFigures
from doctor_derma.inference.conformal import TARGET, conformal_threshold

DEFAULT_RULE: Rule = "balanced"


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was fitted to n images of K classes, and what it makes of them.

    Attributes
    ----------
    calibration : from logits to probabilities
    class_shares : of the training images, K numbers
    prevalence : how much they count in the probabilities
    probabilities : float64 [n, K], of the images that it was fitted to
    conformal : which classes are in a prediction set
    decision : how probabilities become a label
    metrics : every metric of the images under the default rule; what is undefined is left out
    """

    calibration: Calibration
    class_shares: tuple[float, ...]
    prevalence: float
    probabilities: np.ndarray
    conformal: Conformal
    decision: Decision
    metrics: dict[str, float]


def fit_outputs(
    logits: np.ndarray,
    labels: np.ndarray,
    lesions: np.ndarray,
    classes: Sequence[str],
    class_counts: np.ndarray,
    *,
    balanced: bool,
    prevalence: float,
    rule: Rule = DEFAULT_RULE,
    costs: Costs | None = None,
) -> Fitted:
    """Fit temperature, prediction sets and decision thresholds.

    The outputs may be those of one network on a validation split, or those of many, each on the
    images that it has not seen.

    Parameters
    ----------
    logits : float [n, K]; the logarithms of probabilities serve as well
    labels : int [n]
    lesions : str [n], for the intervals, which are over lesions
    classes : the K short class names
    class_counts : training images a class, int [K], all over 0
    balanced, prevalence : as for `calibrate`
    rule : by which labels are decided where none is asked for
    costs : true class -> called class -> cost, for the rule ``costs``

    Raises
    ------
    DermaError
        When there are no logits or one is not finite, the costs are wrong, or the model has no
        such rule.
    """
    calibration = calibrate(logits, labels, class_counts, balanced=balanced, prevalence=prevalence)
    probabilities = calibration.probabilities(logits)
    shares = tuple(float(share) for share in class_counts / class_counts.sum())
    melanoma = _fit_melanoma(probabilities, labels, lesions, classes)
    rulebook = Rulebook(
        tuple(classes),
        shares,
        prevalence,
        calibration.temperature,
        rule,
        melanoma.threshold if melanoma else None,
        costs,
    )
    decided = {name: rulebook.decide(probabilities, name) for name in rulebook.rules}
    metrics = classification_metrics(labels, probabilities, classes, decided[rule])
    return Fitted(
        calibration=calibration,
        class_shares=shares,
        prevalence=prevalence,
        probabilities=probabilities,
        conformal=Conformal(
            target=TARGET, threshold=conformal_threshold(probabilities, labels), images=len(labels)
        ),
        decision=Decision(
            default=rule,
            melanoma_first=melanoma,
            costs=None if costs is None else {true: dict(of) for true, of in costs.items()},
            figures={name: _figures(labels, called, classes) for name, called in decided.items()},
        ),
        metrics={name: value for name, value in metrics.items() if np.isfinite(value)},
    )


def check_decision(classes: Sequence[str], rule: Rule, costs: Costs | None) -> None:
    """Look for mistakes before anything is fitted.

    Raises
    ------
    DermaError
        When the costs are wrong, or the classes can't have the rule.
    """
    # The threshold stands for the one to be fitted.
    even = (1.0,) * len(classes)
    Rulebook(tuple(classes), even, 1.0, 1.0, rule, threshold=0.0, costs=costs)


def _fit_melanoma(
    probabilities: np.ndarray, labels: np.ndarray, lesions: np.ndarray, classes: Sequence[str]
) -> MelanomaFirst | None:
    """Choose the threshold for ``SPECIFICITY``; None without images of melanoma or of others."""
    if MELANOMA not in classes:
        return None
    column = list(classes).index(MELANOMA)
    is_melanoma = labels == column
    if is_melanoma.all() or not is_melanoma.any():
        return None
    scores = probabilities[:, column]
    threshold = melanoma_threshold(scores, is_melanoma, SPECIFICITY)
    # Two classes, melanoma and all else, called at this threshold.
    values = [
        weighted_decision_metrics(
            is_melanoma.astype(int), (scores > threshold).astype(int), ("others", MELANOMA), weights
        )
        for weights in (
            np.ones((1, len(labels))),
            *lesion_weights(lesions, chunk_sizes(RESAMPLES, len(labels)), seed=0),
        )
    ]
    return MelanomaFirst(
        threshold=threshold,
        target_specificity=SPECIFICITY,
        sensitivity=_expected(values, f"sensitivity_{MELANOMA}", int(is_melanoma.sum())),
        specificity=_expected(values, f"specificity_{MELANOMA}", int((~is_melanoma).sum())),
    )


def _expected(values: list[dict[str, np.ndarray]], metric: str, images: int) -> Expected:
    found = np.concatenate([each[metric] for each in values])
    interval = percentile_interval(float(found[0]), found[1:])
    return Expected(value=interval.value, low=interval.low, high=interval.high, images=images)


def _figures(labels: np.ndarray, called: np.ndarray, classes: Sequence[str]) -> RuleFigures:
    found = weighted_decision_metrics(labels, called, classes, np.ones((1, len(labels))))
    values = {name: float(found[name][0]) for name in RULE_METRICS if name in found}
    calls = np.bincount(called, minlength=len(classes))
    return RuleFigures(
        metrics={name: value for name, value in values.items() if np.isfinite(value)},
        called=tuple(float(share) for share in calls / len(called)),
    )
