r"""How unlike the training images a picture is: a distance in the network's own features.

The pooled features of the training images are taken for one normal distribution with mean
:math:`\mu` and covariance :math:`\Sigma`, and a picture with features f is as unfamiliar as its
Mahalanobis distance from it (Lee et al. [1]_, without their distinction of classes):

.. math:: d(f) = (f - \mu)^T \Sigma^{-1} (f - \mu)

The covariance is shrunk as by Ledoit and Wolf [2]_, so it can be inverted however few images
there are. Confidence is no substitute: networks are often surest of pictures of something else.

References
----------
.. [1] K. Lee, K. Lee, H. Lee, J. Shin: A Simple Unified Framework for Detecting
       Out-of-Distribution Samples and Adversarial Attacks. NeurIPS 2018, arXiv:1807.03888.
.. [2] O. Ledoit, M. Wolf: A well-conditioned estimator for large-dimensional covariance
       matrices. Journal of Multivariate Analysis 88, 2004.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import LedoitWolf

ACCEPTANCE = 0.95


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Unfamiliarity is ``sum(((features - mean) @ whitening) ** 2)``, 1 at the threshold.

    Attributes
    ----------
    mean : float64 of shape (C,)
    whitening : float64 of shape (C, C)
    """

    mean: np.ndarray
    whitening: np.ndarray

    def unfamiliarity(self, features: np.ndarray) -> np.ndarray:
        """Return float64 (n,) for pooled features (n, C); over 1 is unfamiliar."""
        return (((features - self.mean) @ self.whitening) ** 2).sum(axis=1)


def fit_familiarity(
    training: np.ndarray, validation: np.ndarray, acceptance: float = ACCEPTANCE
) -> Familiarity:
    """Fit the distribution, and scale the distance so that 1 is the threshold.

    Parameters
    ----------
    training : pooled features of training images, float (n, C)
    validation : the same of images that training has not seen, float (m, C)
    acceptance : share of the validation images that are within the threshold
    """
    fitted = LedoitWolf().fit(training)
    # A constant feature has no variance, so no inverse: let it weigh as little as it tells.
    jitter = 1e-9 * np.eye(training.shape[1]) * max(np.trace(fitted.covariance_), 1e-9)
    whitening = np.linalg.cholesky(np.linalg.inv(fitted.covariance_ + jitter))
    unscaled = Familiarity(fitted.location_, whitening)
    threshold = float(np.quantile(unscaled.unfamiliarity(validation), acceptance))
    return Familiarity(fitted.location_, whitening / np.sqrt(max(threshold, 1e-12)))
