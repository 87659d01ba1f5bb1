"""The probabilities before the temperature, from those after it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from doctor_derma.audits.temperature import (
    measure_temperature,
    temperature_table,
    without_temperature,
)
from evaluation.fake_predictions import CLASSES, SHARES, fake_predictions


@pytest.mark.parametrize("prevalence", [0.0, 0.25, 1.0])
def test_the_temperature_is_undone(prevalence: float) -> None:
    predictions = fake_predictions(50)
    evidence = np.random.default_rng(0).normal(size=(50, len(CLASSES)))
    offsets = (prevalence - 1) * np.log(SHARES)
    after = replace(predictions, probabilities=softmax(evidence / 1.7 + offsets, axis=1))
    found = without_temperature(after, 1.7, prevalence, np.array(SHARES))
    np.testing.assert_allclose(found.probabilities, softmax(evidence + offsets, axis=1), atol=1e-9)


def test_a_probability_of_zero_does_no_harm() -> None:
    predictions = fake_predictions(5)
    certain = replace(predictions, probabilities=np.eye(len(CLASSES))[:5])
    found = without_temperature(certain, 2.0, 1.0, np.array(SHARES)).probabilities
    assert bool(np.isfinite(found).all())


def test_before_and_after_are_measured_and_shown() -> None:
    after = fake_predictions(150)
    before = without_temperature(after, 3.0, 1.0, np.array(SHARES))
    found = measure_temperature(before, after, resamples=20)
    assert found["before"]["ece"].value != found["after"]["ece"].value
    assert found["before"]["accuracy"].value == found["after"]["accuracy"].value
    table = temperature_table(found, 3.0)
    assert table.rows[0][1:] == (str(found["before"]["ece"]), str(found["after"]["ece"]))
