"""What temperature and prevalence did to the probabilities, on images neither was fitted on."""

from dataclasses import replace

import numpy as np
from scipy.special import softmax

from doctor_derma.evaluation.bootstrap import RESAMPLES, Interval, bootstrap_metrics
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table

BEFORE, AFTER, SHIPPED = "before", "after", "shipped"
MEASURES = {
    "ece": "Expected calibration error",
    "brier": "Brier score",
    "log_loss": "Log loss",
}


def calibration_versions(
    predictions: Predictions, temperature: float, prevalence: float, class_shares: np.ndarray
) -> dict[str, Predictions]:
    r"""Return the predictions at three stages of calibration.

    With class shares :math:`\pi_k` and prevalence s the shipped probabilities are
    :math:`p_k \propto \pi_k^{s-1} \exp(g_k / T)`, so the evidence g is known but for a constant.

    Parameters
    ----------
    predictions : as shipped
    temperature, prevalence, class_shares : as in the bundle's ``model.json``

    Returns
    -------
    ``before`` the temperature, ``softmax(g)``; ``after`` it, ``softmax(g / T)``, where it was
    fitted; and ``shipped``, with the class shares at their chosen weight
    """
    smallest = np.finfo(np.float32).tiny
    logarithms = np.log(np.maximum(predictions.probabilities, smallest))
    evidence = temperature * (logarithms - (prevalence - 1) * np.log(class_shares))
    return {
        BEFORE: replace(predictions, probabilities=softmax(evidence, axis=1)),
        AFTER: replace(predictions, probabilities=softmax(evidence / temperature, axis=1)),
        SHIPPED: predictions,
    }


def measure_calibration(
    versions: dict[str, Predictions], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """Return every metric of every version with its 95% interval."""
    return {name: bootstrap_metrics(of, resamples, seed) for name, of in versions.items()}


def calibration_table(
    found: dict[str, dict[str, Interval]], temperature: float, prevalence: float
) -> Table:
    """Tabulate the measures of calibration of each version."""
    return Table(
        "Calibration (95% interval)",
        (
            "Measure, lower is better",
            "Before the temperature",
            f"After it ({temperature:.3f})",
            f"Shipped, prevalence {prevalence:g}",
        ),
        tuple(
            (title, *(str(found[version][name]) for version in (BEFORE, AFTER, SHIPPED)))
            for name, title in MEASURES.items()
        ),
        "The temperature was fitted on the validation split, for data with its shares of "
        "diagnoses. A prevalence below 1 calls rare classes more often and is less calibrated.",
    )
