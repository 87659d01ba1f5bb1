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
    r"""Set how much the classes' shares count, and fit the temperature.

    With class shares :math:`\pi_k` of the training split, a balanced loss leaves logits
    :math:`f_k` that treat all classes alike, and a plain one :math:`f_k + \log \pi_k`, which are
    those for data with these shares (Menon et al. [1]_, section 3). The shares count with the
    exponent s, the ``prevalence``:

    .. math:: p_k \propto \exp((f_k + s \log \pi_k) / T)

    With s = 1 the probabilities are those for data like the training data; with s = 0 the most
    probable class is the one that raises balanced accuracy most. The temperature T is fitted
    last [2]_, so that the confidence in the classes that are called at this s is that which
    comes true on the validation split.

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
    missing = (prevalence if balanced else prevalence - 1) * log_shares
    temperature = fit_temperature(logits + missing, labels)
    return Calibration(temperature, missing / temperature)
