"""What prevalence and temperature did to the probabilities, on images neither was fitted on."""

from dataclasses import replace

import numpy as np
from scipy.special import softmax

from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    bootstrap_metrics,
    percentile_interval,
)
from doctor_derma.evaluation.calibration import ece_by_chance
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table

BEFORE, WEIGHTED, SHIPPED = "before", "weighted", "shipped"
CHANCE = "ece_by_chance"
MEASURES = {
    "ece": "Expected calibration error (ECE)",
    CHANCE: "ECE by chance, were the probabilities exact",
    "brier": "Brier score",
    "log_loss": "Log loss",
}


def calibration_versions(
    predictions: Predictions, temperature: float, prevalence: float, class_shares: np.ndarray
) -> dict[str, Predictions]:
    r"""Return the predictions at three stages of calibration.

    With class shares :math:`\pi_k` and prevalence s the shipped probabilities are
    :math:`p_k \propto \exp((g_k + (s-1) \log \pi_k) / T)`, so the evidence g is known but for a
    constant.

    Parameters
    ----------
    predictions : as shipped
    temperature, prevalence, class_shares : as in the bundle's ``model.json``

    Returns
    -------
    ``before`` calibration, ``softmax(g)``; ``weighted``, with the class shares at their chosen
    weight; and ``shipped``, with the temperature that was fitted then
    """
    smallest = np.finfo(np.float32).tiny
    weighted = temperature * np.log(np.maximum(predictions.probabilities, smallest))
    evidence = weighted - (prevalence - 1) * np.log(class_shares)
    return {
        # The rules are for the probabilities as shipped; calibration asks for none.
        BEFORE: replace(predictions, probabilities=softmax(evidence, axis=1), rulebook=None),
        WEIGHTED: replace(predictions, probabilities=softmax(weighted, axis=1), rulebook=None),
        SHIPPED: predictions,
    }


def measure_calibration(
    versions: dict[str, Predictions], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """Return every metric of every version with its 95% interval, and the ECE by chance."""
    return {
        name: bootstrap_metrics(of, resamples, seed) | {CHANCE: _chance(of, resamples, seed)}
        for name, of in versions.items()
    }


def _chance(predictions: Predictions, draws: int, seed: int) -> Interval:
    drawn = ece_by_chance(predictions.probabilities, draws, seed)
    return percentile_interval(float(drawn.mean()), drawn)


def calibration_table(
    found: dict[str, dict[str, Interval]], temperature: float, prevalence: float
) -> Table:
    """Tabulate the measures of calibration of each version."""
    return Table(
        "Calibration (95% interval)",
        (
            "Measure, lower is better",
            "Before",
            f"Prevalence {prevalence:g}",
            f"Shipped, temperature {temperature:.3f}",
        ),
        tuple(
            (title, *(_cell(found, version, name) for version in (BEFORE, WEIGHTED, SHIPPED)))
            for name, title in MEASURES.items()
        ),
        "The temperature was fitted on the validation split, last. A prevalence below 1 calls rare "
        "classes more often than they are there. ECE is never 0: even exact probabilities miss in "
        "each bin by luck, with so many images by as much as the second row says.",
    )


def _cell(found: dict[str, dict[str, Interval]], version: str, name: str) -> str:
    # An audit of before there was this version or measure lacks it.
    interval = found.get(version, {}).get(name)
    return "\N{EN DASH}" if interval is None else str(interval)
