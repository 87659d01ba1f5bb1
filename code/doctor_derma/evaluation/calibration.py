"""Calibration: does a probability of 0.8 come true in 80% of the cases?"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from doctor_derma.errors import DermaError

BINS = 15
TEMPERATURE_LIMITS = (0.05, 20.0)


def confidence_bins(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the bin of each confidence, int64 [n]; bin m is (m/bins, (m+1)/bins]."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def reliability_curve(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> pd.DataFrame:
    """Compare top-label confidence with accuracy, bin by bin (Guo et al., ICML 2017, fig. 1).

    Parameters
    ----------
    labels : int [n]
    probabilities : float [n, K]
    bins : number of bins of equal width

    Returns
    -------
    One row a bin: its ``centre`` and ``width``, the means ``confidence`` and ``accuracy``, nan
    where it is empty, and ``counts``, the images in it

    Examples
    --------
    Four images, of which the network is 75% sure on average, and right in half the cases:

    >>> import numpy as np
    >>> labels = np.array([0, 1, 0, 1])
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    >>> curve = reliability_curve(labels, probabilities, bins=2)
    >>> curve[["counts", "confidence", "accuracy"]].round(2).to_numpy()
    array([[0.  ,  nan,  nan],
           [4.  , 0.75, 0.5 ]])
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = confidence_bins(confidence, bins)
    counts = np.bincount(bin_of, minlength=bins)
    edges = np.linspace(0, 1, bins + 1)
    curve = pd.DataFrame({"centre": (edges[:-1] + edges[1:]) / 2, "width": np.diff(edges)})
    for name, values in (("confidence", confidence), ("accuracy", correct)):
        curve[name] = np.bincount(bin_of, values, bins) / np.where(counts, counts, np.nan)
    return curve.assign(counts=counts)


def ece_by_chance(
    probabilities: np.ndarray, draws: int, seed: int = 0, bins: int = BINS
) -> np.ndarray:
    """Draw the ECE that these probabilities would have if they came true exactly, float64 [draws].

    It is not 0: in each bin the accuracy differs from its expectation by luck, and the ECE adds
    up the sizes of these differences (Roelofs et al., Mitigating Bias in Calibration Error
    Estimation, AISTATS 2022).

    Parameters
    ----------
    probabilities : float [n, K]
    draws : how often the outcomes are drawn
    """
    confidence = probabilities.max(axis=1)
    in_bin = np.eye(bins)[confidence_bins(confidence, bins)]
    correct = np.random.default_rng(seed).random((draws, len(confidence))) < confidence
    return np.abs((correct - confidence) @ in_bin).sum(axis=1) / len(confidence)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature T whose softmax(logits / T) has the least negative log-likelihood.

    The likelihood has one minimum in T, found by Brent's bounded search on log T from 0.05
    to 20; on separable cases, where T would fall to 0, the lower limit holds
    (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2).

    Parameters
    ----------
    logits : float [n, K], of images the network was not trained on
    labels : int [n]

    Raises
    ------
    DermaError
        When there are no logits, or one of them is not finite.

    Examples
    --------
    Three of four calls are right, so a logit of 2 has to become one of log 3, a probability of 75%:

    >>> import numpy as np
    >>> logits = np.array([[2.0, 0.0]] * 4)
    >>> temperature = fit_temperature(logits, np.array([0, 0, 0, 1]))
    >>> round(2 / temperature, 3), round(float(np.log(3)), 3)
    (1.099, 1.099)
    """
    logits = np.asarray(logits, dtype=np.float64)
    if len(logits) == 0 or not np.isfinite(logits).all():
        raise DermaError(
            "temperature: the validation logits are empty or not finite; "
            "check that the validation split has images and training did not diverge"
        )

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        true = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
        return float((logsumexp(scaled, axis=1) - true).mean())

    found = minimize_scalar(
        loss, bounds=np.log(TEMPERATURE_LIMITS), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def with_class_shares(
    probabilities: np.ndarray, assumed: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """Return probabilities for other class shares, float64 [n, K], by Bayes' rule.

    It is equation 2.4 of Saerens et al., see ``estimate_class_shares``.

    Parameters
    ----------
    probabilities : float [n, K], right where the classes have the shares ``assumed``
    assumed, shares : float [K], each adding up to 1; a class of 0 in ``assumed`` stays at 0

    Examples
    --------
    >>> import numpy as np
    >>> assumed, shares = np.array([0.5, 0.5]), np.array([0.2, 0.8])
    >>> with_class_shares(np.array([[0.5, 0.5]]), assumed, shares)
    array([[0.2, 0.8]])
    """
    ratios = np.divide(shares, assumed, out=np.zeros(len(assumed)), where=assumed > 0)
    weighed = probabilities * ratios
    return weighed / weighed.sum(axis=1, keepdims=True)


def estimate_class_shares(probabilities: np.ndarray, assumed: np.ndarray) -> np.ndarray:
    """Estimate the class shares of unlabelled pictures, float64 [K], by expectation maximisation.

    Each round adjusts the probabilities to the shares that it has, and takes their mean for the
    shares, which never lowers the likelihood (M. Saerens, P. Latinne, C. Decaestecker: Adjusting
    the Outputs of a Classifier to New a Priori Probabilities, Neural Computation 14, 2002,
    eq. 2.9). It holds where only the shares differ and the pictures of a class do not. It ends
    when no share changes by 1e-7 or more, or after 5000 rounds.

    Parameters
    ----------
    probabilities : float [n, K], right where the classes have the shares ``assumed``
    assumed : float [K], adding up to 1, as what is returned does
    """
    shares = np.asarray(assumed, dtype=np.float64)
    for _ in range(5000):
        before, shares = shares, with_class_shares(probabilities, assumed, shares).mean(axis=0)
        if np.abs(shares - before).max() < 1e-7:
            break
    return shares
