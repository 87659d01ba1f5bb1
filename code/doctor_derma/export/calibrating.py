"""From logits to probabilities that mean something, fitted on the validation split."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from doctor_derma.evaluation.calibration import fit_temperature


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probabilities are ``softmax(logits / temperature + offsets)``.

    Attributes
    ----------
    temperature : over 0
    offsets : float64 of shape (classes,)
    """

    temperature: float
    offsets: np.ndarray

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return float64 probabilities for float logits, both of shape (n, classes)."""
        return softmax(logits / self.temperature + self.offsets, axis=1)


def calibrate(
    logits: np.ndarray,
    labels: np.ndarray,
    class_counts: np.ndarray,
    *,
    balanced: bool,
    prevalence: float,
) -> Calibration:
    r"""Fit the temperature and set how much the classes' shares count.

    With class shares :math:`\pi_k` of the training split, a balanced loss leaves logits
    :math:`f_k` that treat all classes alike, and :math:`f_k + \log \pi_k` are those for data
    with these shares (Menon et al. [1]_, section 3). The temperature T is fitted on those, as
    the validation split has these shares [2]_. Then the shares' weight is lowered to the
    exponent s, the ``prevalence``:

    .. math:: p_k \propto \pi_k^{s-1} \exp((f_k + \log \pi_k) / T)

    With s = 1 the probabilities are calibrated for data like the training data; with s = 0 the
    most probable class is the one that raises balanced accuracy most.

    Parameters
    ----------
    logits : float of shape (n, classes), of the validation split
    labels : int of shape (n,)
    class_counts : training images a class, shape (classes,), all over 0
    balanced : whether the loss made up for the classes' shares
    prevalence : s, from 0 to 1

    References
    ----------
    .. [1] A. K. Menon et al.: Long-tail learning via logit adjustment. ICLR 2021,
           arXiv:2007.07314.
    .. [2] C. Guo et al.: On Calibration of Modern Neural Networks. ICML 2017,
           arXiv:1706.04599.
    """
    log_shares = np.log(class_counts / class_counts.sum())
    missing = log_shares if balanced else np.zeros_like(log_shares)
    temperature = fit_temperature(logits + missing, labels)
    offsets = missing / temperature + (prevalence - 1) * log_shares
    return Calibration(temperature, offsets)
