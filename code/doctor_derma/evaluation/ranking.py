"""Rank metrics of one class against the rest, under many sets of case weights at once."""

import numpy as np

_ROUNDING = 1e-12


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
    """
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(weights[:, negatives], axis=1, out=below[:, 1:])
    lower = np.searchsorted(scores[negatives], scores[positive], side="left")
    upper = np.searchsorted(scores[negatives], scores[positive], side="right")
    own = weights[:, positive]
    won = (own * (below[:, lower] + below[:, upper])).sum(axis=1) / 2
    return ratio(won, own.sum(axis=1) * below[:, -1])


def weighted_average_precision(
    positive: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Average precision for each set of case weights: sum of (R_i - R_(i-1)) P_i.

    The sum runs over the distinct scores, as in scikit-learn's ``average_precision_score``
    (no interpolation between the points of the curve).

    Parameters
    ----------
    positive : bool [n]
    scores : float [n]
    weights : float [R, n], at least 0

    Returns
    -------
    float64 [R]; nan where the positive cases have no weight
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
    positive : bool [n]
    scores : float [n]
    weights : float [R, n], at least 0
    specificity : from 0 to 1

    Returns
    -------
    float64 [R]; nan where the positive or the negative cases have no weight
    """
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(weights[:, negatives], axis=1, out=below[:, 1:])
    spared = below[:, np.searchsorted(scores[negatives], scores[positive], side="left")]
    # Rounding must not lose a threshold that meets the specificity exactly.
    needed = (specificity - _ROUNDING) * below[:, -1:]
    own = weights[:, positive]
    found = (own * (spared >= needed)).sum(axis=1)
    return ratio(found, np.where(below[:, -1] > 0, own.sum(axis=1), 0))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, with nan where the denominator is 0."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
