r"""Sets of classes that hold the true one as often as asked for: conformal prediction.

A class's score is the probability of all classes more probable than itself, a deterministic
form of adaptive prediction sets (APS, Romano et al. [1]_) in which the most probable class
scores 0, so that no set is empty. The set of a picture is every class whose score is within
a threshold, the quantile of the true classes' scores on images that training has not seen. For
new images like those, the set holds the true
class with at least the target probability on average over all images, whatever the network; of
a single class it promises nothing (Angelopoulos and Bates [2]_). These are the marginal sets.
Class-conditional ones, Mondrian conformal prediction (Vovk [3]_), have a threshold for each class,
the quantile of the images of this class alone: they promise the same of each class, and are larger.

References
----------
.. [1] Y. Romano, M. Sesia, E. J. Candes: Classification with Valid and Adaptive Coverage.
       NeurIPS 2020, arXiv:2006.02544.
.. [2] A. N. Angelopoulos, S. Bates: A Gentle Introduction to Conformal Prediction and
       Distribution-Free Uncertainty Quantification. 2021, arXiv:2107.07511.
.. [3] V. Vovk: Conditional validity of inductive conformal predictors. ACML 2012,
       arXiv:1209.2673.
"""

import math
from collections.abc import Sequence

import numpy as np

TARGET = 0.95


def aps_scores(probabilities: np.ndarray) -> np.ndarray:
    """Return each class's score, the sum of the probabilities before its own.

    Parameters
    ----------
    probabilities : float [n, K]

    Returns
    -------
    float64 [n, K], from 0 for the most probable class to below 1

    Examples
    --------
    >>> import numpy as np
    >>> aps_scores(np.array([[0.5, 0.375, 0.125]]))
    array([[0.   , 0.5  , 0.875]])
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1).astype(np.float64)
    scores = np.zeros_like(ranked)
    np.put_along_axis(scores, order[:, 1:], np.cumsum(ranked, axis=1)[:, :-1], axis=1)
    return scores


def conformal_threshold(
    probabilities: np.ndarray, labels: np.ndarray, target: float = TARGET
) -> float:
    """Return the threshold whose sets hold the true class with probability ``target``.

    It is the smallest score that at least ``target`` of n + 1 scores are within, where n are
    known and one is new; 1, which lets every class in, when n is too small for that.

    Parameters
    ----------
    probabilities : float [n, K], of images that training has not seen
    labels : int [n], index of the true class

    Examples
    --------
    Nineteen images, of which the second most probable class, with a score of 0.75, is true for one:

    >>> import numpy as np
    >>> probabilities, labels = np.array([[0.75, 0.25]] * 19), np.array([0] * 18 + [1])
    >>> conformal_threshold(probabilities, labels, target=0.9)
    0.0
    >>> conformal_threshold(probabilities, labels, target=0.95)
    0.75
    >>> conformal_threshold(probabilities, labels, target=0.99)
    1.0
    """
    found = _corrected_quantile(_true_scores(probabilities, labels), target)
    return 1.0 if found is None else found


def class_thresholds(
    probabilities: np.ndarray, labels: np.ndarray, target: float = TARGET
) -> tuple[float, ...]:
    """Return a threshold for each class, whose sets hold that class with probability ``target``.

    A class with too few images for that, 18 or fewer where the target is 95%, has the threshold of
    all images together, see ``conformal_threshold``, and no promise of its own.

    Parameters
    ----------
    probabilities : float [n, K], of images that training has not seen
    labels : int [n], index of the true class
    """
    scores = _true_scores(probabilities, labels)
    pooled = conformal_threshold(probabilities, labels, target)
    of_classes = (
        _corrected_quantile(scores[labels == k], target) for k in range(probabilities.shape[1])
    )
    return tuple(pooled if found is None else found for found in of_classes)


def _true_scores(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return aps_scores(probabilities)[np.arange(len(labels)), labels]


def _corrected_quantile(scores: np.ndarray, target: float) -> float | None:
    """Return the score that at least ``target`` of n + 1 are within; None where n is too small."""
    rank = math.ceil((len(scores) + 1) * target)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else None


def prediction_sets(
    probabilities: np.ndarray, threshold: float | Sequence[float], called: np.ndarray | None = None
) -> np.ndarray:
    """Return which classes are in each picture's set, bool [n, K].

    The class that a picture is called is always among them, which keeps the promise: a larger set
    holds the true class no less often.

    Parameters
    ----------
    probabilities : float [n, K]
    threshold : of ``conformal_threshold``, or of each class, of ``class_thresholds``
    called : int [n], the class that each picture is called; the most probable one, which is in
        every set, when None

    Examples
    --------
    >>> import numpy as np
    >>> prediction_sets(np.array([[0.5, 0.375, 0.125], [0.9, 0.06, 0.04]]), threshold=0.75)
    array([[ True,  True, False],
           [ True, False, False]])
    """
    # Rounding may carry a sum of float32 probabilities a little over a threshold of 1.
    sets = aps_scores(probabilities) <= np.asarray(threshold) + 1e-6
    if called is not None:
        np.put_along_axis(sets, called[:, None], True, axis=1)
    return sets
