"""Probabilities out of logits: the classes' shares first, then the temperature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.calibration import Calibration, calibrate

COUNTS = np.array([700, 200, 100])
LOG_SHARES = np.log(COUNTS / 1000)


def outcomes(seed: int, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Draw evidence for and against three classes of these shares, and the classes."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, size=count, p=COUNTS / 1000)
    evidence = generator.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels]
    return evidence, labels


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**16),
    prevalence=st.floats(0, 1),
    balanced=st.booleans(),
    factor=st.floats(0.5, 2),
)
def test_no_other_temperature_is_better(
    seed: int, prevalence: float, balanced: bool, factor: float
) -> None:
    evidence, labels = outcomes(seed)
    logits = evidence if balanced else evidence + LOG_SHARES
    found = calibrate(logits, labels, COUNTS, balanced=balanced, prevalence=prevalence)
    other = Calibration(found.temperature * factor, found.offsets / factor)
    losses = [
        classification_metrics(labels, of.probabilities(logits), "abc")["log_loss"]
        for of in (found, other)
    ]
    assert losses[0] <= losses[1] + 1e-6
    called = [of.probabilities(logits).argmax(axis=1) for of in (found, other)]
    assert called[0].tolist() == called[1].tolist()


@pytest.mark.parametrize("prevalence", [0.0, 0.4, 1.0])
def test_shares_count_as_much_as_they_should_whatever_the_loss(prevalence: float) -> None:
    evidence, labels = outcomes(0)
    balanced = calibrate(evidence, labels, COUNTS, balanced=True, prevalence=prevalence)
    plain = calibrate(evidence + LOG_SHARES, labels, COUNTS, balanced=False, prevalence=prevalence)
    expected = softmax((evidence + prevalence * LOG_SHARES) / balanced.temperature, axis=1)
    np.testing.assert_allclose(balanced.probabilities(evidence), expected)
    np.testing.assert_allclose(plain.probabilities(evidence + LOG_SHARES), expected, rtol=1e-4)
