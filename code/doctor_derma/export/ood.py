r"""Out-of-distribution (OOD) score: how far a picture is from the training images.

The distance is taken in the network's own features. The pooled features of the training images
are taken for one normal distribution with mean :math:`\mu` and covariance :math:`\Sigma`, and a
picture with features f is at the Mahalanobis distance (Lee et al. [1]_, without their
distinction of classes):

.. math:: d(f) = (f - \mu)^T \Sigma^{-1} (f - \mu)

The covariance is shrunk as by Ledoit and Wolf [2]_, so it can be inverted however few images
there are, and all but its largest eigenvalues are taken for equal, as in probabilistic principal
components (Tipping and Bishop [3]_): with eigenvalues :math:`\lambda_i` along :math:`v_i`, and
:math:`\sigma^2` the mean of the others,

.. math:: d(f) = \frac{|f - \mu|^2}{\sigma^2}
                 - \sum_i \Big(\frac{1}{\sigma^2} - \frac{1}{\lambda_i}\Big) (v_i^T (f - \mu))^2

A bundle holds a matrix of some columns instead of a square one. Confidence is no substitute:
networks are often surest of pictures of something else.

References
----------
.. [1] K. Lee, K. Lee, H. Lee, J. Shin: A Simple Unified Framework for Detecting
       Out-of-Distribution Samples and Adversarial Attacks. NeurIPS 2018, arXiv:1807.03888.
.. [2] O. Ledoit, M. Wolf: A well-conditioned estimator for large-dimensional covariance
       matrices. Journal of Multivariate Analysis 88, 2004.
.. [3] M. E. Tipping, C. M. Bishop: Probabilistic Principal Component Analysis. Journal of the
       Royal Statistical Society B 61, 1999.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import LedoitWolf

ACCEPTANCE = 0.95
DIRECTIONS = 256
_IMAGES = 2000


@dataclass(frozen=True, eq=False)
class OodScore:
    """The score is ``precision * |f - mean|^2 - |(f - mean) @ directions|^2``.

    Attributes
    ----------
    mean : float64 of shape (C,)
    precision : over 0
    directions : float64 of shape (C, r)
    """

    mean: np.ndarray
    precision: float
    directions: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return float64 scores (n,) of pooled features (n, C)."""
        centred = features - self.mean
        along = ((centred @ self.directions) ** 2).sum(axis=1)
        return self.precision * (centred**2).sum(axis=1) - along

    def scaled(self, threshold: float) -> "OodScore":
        """Return the same with 1 where the score was ``threshold``."""
        directions = self.directions / np.sqrt(threshold)
        return OodScore(self.mean, self.precision / threshold, directions)


def fit_distance(training: np.ndarray, directions: int = DIRECTIONS) -> OodScore:
    """Fit the distribution, and score by the distance itself.

    Parameters
    ----------
    training : pooled features of training images, float (n, C)
    directions : eigenvalues that are kept apart, the largest ones
    """
    fitted = LedoitWolf().fit(training)
    values, vectors = np.linalg.eigh(fitted.covariance_)
    # A constant feature has no variance, so no inverse: let it weigh as little as it tells.
    values = np.maximum(values, 1e-9 * max(float(values.sum()), 1e-9))
    kept = min(directions, len(values) - 1)
    noise = float(values[: len(values) - kept].mean())
    largest, axes = values[len(values) - kept :], vectors[:, len(values) - kept :]
    scaled = axes * np.sqrt(np.maximum(1 / noise - 1 / largest, 0))
    return OodScore(fitted.location_, 1 / noise, scaled)


def ood_threshold(distances: np.ndarray) -> float:
    """Return the distance that ``ACCEPTANCE`` of unseen images, float (m,), are within."""
    return max(float(np.quantile(distances, ACCEPTANCE)), 1e-12)


def choose_rows(rows: np.ndarray) -> np.ndarray:
    """Choose so many of some images that the distribution of their features is known well."""
    count = min(len(rows), _IMAGES)
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False))
