"""What prior weight and temperature did to the probabilities, on images neither was fitted on."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import softmax

from doctor_derma.audits.groups import interval_of
from doctor_derma.decisions import log_probabilities
from doctor_derma.evaluation.bootstrap import RESAMPLES, bootstrap_metrics, percentile_interval
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
    predictions: Predictions, temperature: float, prior_weight: float, class_shares: np.ndarray
) -> dict[str, Predictions]:
    r"""Return the predictions at three stages of calibration.

    With class shares :math:`\pi_k` and prior weight s the shipped probabilities are
    :math:`p_k \propto \exp((g_k + (s-1) \log \pi_k) / T)`, so the evidence g is known but for a
    constant.

    Parameters
    ----------
    predictions : as shipped
    temperature, prior_weight, class_shares : as in the bundle's ``model.json``

    Returns
    -------
    ``before`` calibration, ``softmax(g)``; ``weighted``, with the class shares at their chosen
    weight; and ``shipped``, with the temperature that was fitted then
    """
    weighted = temperature * log_probabilities(predictions.probabilities)
    evidence = weighted - (prior_weight - 1) * np.log(class_shares)
    return {
        # The rules are for the probabilities as shipped; calibration asks for none.
        BEFORE: replace(predictions, probabilities=softmax(evidence, axis=1), rulebook=None),
        WEIGHTED: replace(predictions, probabilities=softmax(weighted, axis=1), rulebook=None),
        SHIPPED: predictions,
    }


def measure_calibration(
    versions: dict[str, Predictions], resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Measure every metric of every version, and the ECE by chance.

    Returns
    -------
    One row a ``version`` and ``metric``, with ``value``, ``low``, ``high``
    """
    rows = []
    for version, of in versions.items():
        by_chance = ece_by_chance(of.probabilities, resamples)
        found = bootstrap_metrics(of, resamples)
        found[CHANCE] = percentile_interval(np.append(by_chance.mean(), by_chance))
        rows += [{"version": version, "metric": name, **vars(i)} for name, i in found.items()]
    return pd.DataFrame(rows)


def calibration_table(frame: pd.DataFrame, temperature: float, prior_weight: float) -> Table:
    """Tabulate the measures of calibration of each version."""
    found = {(of["version"], of["metric"]): interval_of(of) for of in frame.to_dict("records")}
    stages = (BEFORE, WEIGHTED, SHIPPED)
    return Table(
        "Calibration (95% interval)",
        (
            "Measure, lower is better",
            "Before",
            f"Prior weight {prior_weight:g}",
            f"Shipped, temperature {temperature:.3f}",
        ),
        tuple(
            # An audit of before there was this version or measure lacks it.
            (title, *(str(found.get((version, name), "\N{EN DASH}")) for version in stages))
            for name, title in MEASURES.items()
        ),
        "The temperature was fitted last, to images that training has not seen. A prior weight "
        "below 1 calls rare classes more often than they are there. ECE is never 0: even exact "
        "probabilities miss in each bin by luck, with so many images by as much as the second row "
        "says.",
    )
