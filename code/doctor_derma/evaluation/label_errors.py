"""Labels that networks contradict which have not seen the image: confident learning.

A class that a network calls less readily than others has a lower threshold: an image counts as of
class j where the probability of j is at least what it is on average over the images that are
labelled j. The counts of given against such labels estimate how often each class is labelled as
each other one, and so how many of the images with a label are wrongly so (Northcutt et al. [1]_).
Cleanlab, by its authors, does it.

References
----------
.. [1] C. G. Northcutt, L. Jiang, I. L. Chuang: Confident Learning: Estimating Uncertainty in
       Dataset Labels. Journal of Artificial Intelligence Research 70, 2021.
"""

import warnings

import numpy as np

from doctor_derma.data.corrections import RELABEL
from doctor_derma.data.problems import Finding, Problem


def find_label_errors(
    rows: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]
) -> list[Finding]:
    """Find images whose label is probably wrong.

    Which they are is decided by the noise rates (PBNR of the paper). The score is one minus the
    self-confidence, which is the probability of the given label.

    Parameters
    ----------
    rows : places in the manifest of n images, int [n]
    labels : index of the given label of each, int [n]
    probabilities : of networks that have not seen them, with the class shares of the data, float
        [n, K]
    classes : the K classes
    """
    # Here, as it takes a second to load.
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    with warnings.catch_warnings():
        # Of classes without an image among these, which have no wrong label either.
        warnings.filterwarnings("ignore", "May not flag all label issues")
        wrong = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    called = probabilities.argmax(axis=1)
    found = []
    for at in np.flatnonzero(wrong & (called != labels)):
        given, other = labels[at], called[at]
        detail = (
            f"{classes[other]} {probabilities[at, other]:.0%}, "
            f"{classes[given]} {probabilities[at, given]:.1%}"
        )
        found.append(
            Finding(
                int(rows[at]),
                Problem.LABEL,
                1 - float(quality[at]),
                f"{RELABEL}{classes[other]}",
                detail,
            )
        )
    return found
