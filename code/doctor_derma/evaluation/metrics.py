"""Classification metrics, for one set of case weights or for many at once.

Sensitivity, specificity and PPV of a class, accuracy and balanced accuracy are of the class that
each image is called, by whatever rule (``decisions.py``). The other metrics are of the
probabilities alone; those of a class rank the images by its probability.
"""

from collections.abc import Sequence

import numpy as np

from doctor_derma.decisions import MELANOMA
from doctor_derma.evaluation.calibration import BINS, confidence_bins

HEADLINE_METRICS = {
    "macro_auc": "Macro ROC AUC",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "ece": "Expected calibration error",
    "brier": "Brier score",
}
OVERALL_METRICS = {**HEADLINE_METRICS, "log_loss": "Log loss"}
CLASS_METRICS = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "auc": "ROC AUC",
    "average_precision": "Average precision",
    "sensitivity_at_90_specificity": "Sensitivity at 90% specificity",
}
SPECIFICITY = 0.9
# What is told of melanoma beside the overall metrics.
MELANOMA_AT_SPECIFICITY = f"sensitivity_at_90_specificity_{MELANOMA}"
MELANOMA_METRICS = {MELANOMA_AT_SPECIFICITY: "Melanoma sensitivity at 90% specificity"}
# What tells decision rules apart.
RULE_METRICS = {
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    f"sensitivity_{MELANOMA}": "Melanoma sensitivity",
    f"specificity_{MELANOMA}": "Melanoma specificity",
}
LOWER_IS_BETTER = frozenset({"ece", "brier", "log_loss"})


def classification_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    decided: np.ndarray | None = None,
) -> dict[str, float]:
    """Compute every metric of ``OVERALL_METRICS`` and, as ``<metric>_<class>``, ``CLASS_METRICS``.

    Parameters
    ----------
    labels : int [n], index of the true class
    probabilities : float [n, K]
    classes : the K class names
    decided : int [n], index of the class that each image is called; the most probable if None

    Returns
    -------
    One value a metric. What a class without images (or, for PPV, without predictions)
    leaves undefined is nan; the macro means run over the classes that are defined.

    Notes
    -----
    - ``macro_auc``: mean over the classes of the one-vs-rest ROC AUC.
    - ``balanced_accuracy``: mean sensitivity over the classes.
    - ``ece``: expected calibration error of the most probable class, whichever is called, 15 bins
      of equal width (Guo et al., ICML 2017).
    - ``brier``: mean over the images of the squared error summed over the classes, from 0
      to 2 (Brier, Monthly Weather Review 78, 1950).
    - ``sensitivity_at_90_specificity``: of a class against the rest, the largest sensitivity
      over the thresholds on its probability whose specificity is 0.90 or more.
    - ``log_loss``: mean negative natural logarithm of the true class's probability.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([0, 0, 1, 1])
    >>> probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]])
    >>> metrics = classification_metrics(labels, probabilities, ["mel", "nv"])
    >>> metrics["balanced_accuracy"], metrics["sensitivity_mel"], metrics["sensitivity_nv"]
    (0.75, 0.5, 1.0)
    >>> metrics["macro_auc"], round(metrics["brier"], 3)
    (1.0, 0.25)
    """
    weights = np.ones((1, len(labels)))
    values = weighted_metrics(labels, probabilities, classes, weights, decided)
    return {name: float(value[0]) for name, value in values.items()}


def weighted_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    weights: np.ndarray,
    decided: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Compute the metrics of ``classification_metrics`` for R sets of case weights, float64 [R].

    Parameters
    ----------
    labels, probabilities, classes, decided : as for ``classification_metrics``
    weights : float64 [R, n]; a case of weight 2 counts as two equal cases
    """
    called = probabilities.argmax(axis=1) if decided is None else decided
    sides = [(labels == k, probabilities[:, k], weights) for k in range(len(classes))]
    curves = {
        "auc": [weighted_auc(*side) for side in sides],
        "average_precision": [weighted_average_precision(*side) for side in sides],
        "sensitivity_at_90_specificity": [
            weighted_sensitivity_at_specificity(*side, SPECIFICITY) for side in sides
        ],
    }
    by_class = {metric: np.stack(of, axis=1) for metric, of in curves.items()}
    return {
        "macro_auc": _mean_over_classes(by_class["auc"]),
        **weighted_decision_metrics(labels, called, classes, weights),
        **_probability_metrics(labels, probabilities, weights),
        **_named(by_class, classes),
    }


def weighted_decision_metrics(
    labels: np.ndarray, decided: np.ndarray, classes: Sequence[str], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute what depends on nothing but the classes that images are called, float64 [R].

    That is balanced accuracy, accuracy, and each class's sensitivity, specificity and PPV.
    Parameters are those of ``weighted_metrics``.
    """
    columns = np.arange(len(classes))
    actual, called = labels[:, None] == columns, decided[:, None] == columns
    total = weights.sum(axis=1)
    positives, calls, hits = weights @ actual, weights @ called, weights @ (actual & called)
    negatives = total[:, None] - positives
    by_class = {
        "sensitivity": ratio(hits, positives),
        "specificity": ratio(negatives - (calls - hits), negatives),
        "ppv": ratio(hits, calls),
    }
    return {
        "balanced_accuracy": _mean_over_classes(by_class["sensitivity"]),
        "accuracy": ratio(hits.sum(axis=1), total),
        **_named(by_class, classes),
    }


def _named(by_class: dict[str, np.ndarray], classes: Sequence[str]) -> dict[str, np.ndarray]:
    return {
        f"{metric}_{name}": values[:, index]
        for metric, values in by_class.items()
        for index, name in enumerate(classes)
    }


def _probability_metrics(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """ECE, Brier score and log loss, each [R]."""
    total = weights.sum(axis=1)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    in_bin = confidence_bins(confidence)[:, None] == np.arange(BINS)
    gaps = weights @ (in_bin * (correct - confidence)[:, None])
    truth = labels[:, None] == np.arange(probabilities.shape[1])
    true_probability = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    surprise = -np.log(np.clip(true_probability, np.finfo(np.float64).eps, 1))
    return {
        "ece": ratio(np.abs(gaps).sum(axis=1), total),
        "brier": ratio(weights @ ((probabilities - truth) ** 2).sum(axis=1), total),
        "log_loss": ratio(weights @ surprise, total),
    }


def _mean_over_classes(values: np.ndarray) -> np.ndarray:
    return ratio(np.nansum(values, axis=1), np.isfinite(values).sum(axis=1))


def weighted_auc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve for each set of case weights.

    It is the Mann-Whitney statistic: the weighted share of (positive, negative) pairs in
    which the positive case has the higher score, a tie counting one half (Hanley and
    McNeil, Radiology 143, 1982).

    Parameters
    ----------
    positive : bool [n]
    scores : float [n]
    weights : float [R, n], at least 0

    Returns
    -------
    float64 [R]; nan where the positive or the negative cases have no weight

    Examples
    --------
    Of four pairs, three are in order; without the third case both that are left are:

    >>> import numpy as np
    >>> positive = np.array([True, True, False, False])
    >>> scores = np.array([0.8, 0.4, 0.6, 0.2])
    >>> weighted_auc(positive, scores, np.array([[1, 1, 1, 1], [1, 1, 0, 1]]))
    array([0.75, 1.  ])
    """
    negative_scores, below = _negatives_below(positive, scores, weights)
    lower = np.searchsorted(negative_scores, scores[positive], side="left")
    upper = np.searchsorted(negative_scores, scores[positive], side="right")
    own = weights[:, positive]
    won = (own * (below[:, lower] + below[:, upper])).sum(axis=1) / 2
    return ratio(won, own.sum(axis=1) * below[:, -1])


def weighted_average_precision(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Average precision for each set of case weights: sum of (R_i - R_(i-1)) P_i.

    The sum runs over the distinct scores, as in scikit-learn's ``average_precision_score``
    (no interpolation between the points of the curve).

    Parameters are those of ``weighted_auc``. Returned is float64 [R], nan where the positive cases
    have no weight.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = weights[:, order]
    called = np.cumsum(ordered, axis=1)
    found = np.cumsum(ordered * positive[order], axis=1)
    # A positive case is met with all cases of at least its score: the end of its tie group.
    ends = np.searchsorted(-scores[order], -scores[positive], side="right") - 1
    precision = np.nan_to_num(ratio(found[:, ends], called[:, ends]))
    own = weights[:, positive]
    return ratio((own * precision).sum(axis=1), own.sum(axis=1))


def weighted_sensitivity_at_specificity(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, specificity: float
) -> np.ndarray:
    """Sensitivity at a specificity, for each set of case weights.

    It is the largest sensitivity over the thresholds t (called are the cases of score t or
    more) whose specificity is ``specificity`` or more; nothing is interpolated between
    thresholds. Raising t never lowers the specificity, so a positive case is found at such
    a threshold if its own score is one.

    Parameters
    ----------
    positive, scores, weights : as for ``weighted_auc``, as is what is returned
    specificity : from 0 to 1

    Examples
    --------
    >>> import numpy as np
    >>> positive = np.array([True, True, False, False])
    >>> scores, weights = np.array([0.8, 0.4, 0.6, 0.2]), np.ones((1, 4))
    >>> weighted_sensitivity_at_specificity(positive, scores, weights, specificity=0.5)
    array([1.])
    >>> weighted_sensitivity_at_specificity(positive, scores, weights, specificity=0.9)
    array([0.5])
    """
    negative_scores, below = _negatives_below(positive, scores, weights)
    spared = below[:, np.searchsorted(negative_scores, scores[positive], side="left")]
    # Rounding must not lose a threshold that meets the specificity exactly.
    needed = (specificity - 1e-12) * below[:, -1:]
    own = weights[:, positive]
    found = (own * (spared >= needed)).sum(axis=1)
    return ratio(found, np.where(below[:, -1] > 0, own.sum(axis=1), 0))


def _negatives_below(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the m scores of negative cases, ascending, and the weight below each, [R, m + 1]."""
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(weights[:, negatives], axis=1, out=below[:, 1:])
    return scores[negatives], below


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, with nan where the denominator is 0."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
