"""What the temperature did to the probabilities, on images it was not fitted on."""

from dataclasses import replace

import numpy as np
from scipy.special import softmax

from doctor_derma.evaluation.bootstrap import RESAMPLES, Interval, bootstrap_metrics
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table

MEASURES = {
    "ece": "Expected calibration error",
    "brier": "Brier score",
    "log_loss": "Log loss",
}


def without_temperature(
    predictions: Predictions, temperature: float, prevalence: float, class_shares: np.ndarray
) -> Predictions:
    r"""Return what the model would say at a temperature of 1.

    With class shares :math:`\pi_k` and prevalence s the probabilities are
    :math:`p_k \propto \pi_k^{s-1} \exp(g_k / T)`, so the evidence g is known but for a constant.

    Parameters
    ----------
    predictions : float64 probabilities [n, K], all over 0
    temperature, prevalence, class_shares : as in the bundle's ``model.json``
    """
    offsets = (prevalence - 1) * np.log(class_shares)
    smallest = np.finfo(np.float32).tiny
    evidence = temperature * (np.log(np.maximum(predictions.probabilities, smallest)) - offsets)
    return replace(predictions, probabilities=softmax(evidence + offsets, axis=1))


def measure_temperature(
    before: Predictions, after: Predictions, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """Return every metric with its 95% interval, ``before`` and ``after`` the temperature."""
    return {
        "before": bootstrap_metrics(before, resamples, seed),
        "after": bootstrap_metrics(after, resamples, seed),
    }


def temperature_table(found: dict[str, dict[str, Interval]], temperature: float) -> Table:
    """Tabulate the measures of calibration before and after."""
    return Table(
        f"Calibration before and after the temperature of {temperature:.3f} (95% interval)",
        ("Measure, lower is better", "Before", "After"),
        tuple(
            (title, str(found["before"][name]), str(found["after"][name]))
            for name, title in MEASURES.items()
        ),
        "The temperature was fitted on the validation split.",
    )
