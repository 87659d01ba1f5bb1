"""Temperature, reliability curve and label shift."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.calibration import (
    TEMPERATURE_LIMITS,
    confidence_bins,
    ece_by_chance,
    estimate_class_shares,
    fit_temperature,
    reliability_curve,
    with_class_shares,
)
from doctor_derma.evaluation.metrics import classification_metrics


def calibrated_logits(seed: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 4)) * 2
    labels = np.array([generator.choice(4, p=row) for row in softmax(logits, axis=1)])
    return logits, labels


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_finds_the_temperature_that_was_applied(true_temperature: float) -> None:
    logits, labels = calibrated_logits(0)
    found = fit_temperature(logits * true_temperature, labels)
    assert found == pytest.approx(true_temperature, rel=0.06)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.2, 5))
def test_never_worse_than_no_temperature(seed: int, scale: float) -> None:
    logits, labels = calibrated_logits(seed, count=60)
    temperature = fit_temperature(logits * scale, labels)
    losses = [
        classification_metrics(labels, softmax(logits * scale / t, axis=1), "abcd")["log_loss"]
        for t in (temperature, 1.0)
    ]
    assert losses[0] <= losses[1] + 1e-6


def test_separable_and_hopeless_logits_stay_within_the_limits() -> None:
    logits = np.array([[50.0, -50.0], [-50.0, 50.0]])
    for labels in (np.array([0, 1]), np.array([1, 0])):
        temperature = fit_temperature(logits, labels)
        assert TEMPERATURE_LIMITS[0] <= temperature <= TEMPERATURE_LIMITS[1]


@pytest.mark.parametrize("logits", [np.empty((0, 3)), np.array([[np.nan, 1.0]])])
def test_unusable_logits_are_named(logits: np.ndarray) -> None:
    with pytest.raises(DermaError, match="validation logits"):
        fit_temperature(logits, np.zeros(len(logits), dtype=int))


def test_ece_by_chance_is_the_ece_of_outcomes_drawn_from_the_probabilities() -> None:
    generator = np.random.default_rng(1)
    probabilities = softmax(generator.normal(size=(300, 4)) * 2, axis=1)
    outcomes = (probabilities.cumsum(axis=1)[:, None] > generator.random((300, 200, 1))).argmax(2)
    eces = [classification_metrics(labels, probabilities, "abcd")["ece"] for labels in outcomes.T]
    drawn = ece_by_chance(probabilities, 200)
    assert drawn.shape == (200,)
    assert drawn.mean() == pytest.approx(np.mean(eces), rel=0.06)
    assert drawn.std() == pytest.approx(np.std(eces), rel=0.2)


def test_ece_by_chance_falls_with_the_number_of_images_and_is_0_where_all_is_certain() -> None:
    probabilities = softmax(np.random.default_rng(2).normal(size=(100, 3)), axis=1)
    few, many = (ece_by_chance(np.tile(probabilities, (n, 1)), 100).mean() for n in (1, 16))
    assert many == pytest.approx(few / 4, rel=0.15)
    assert ece_by_chance(np.eye(3), 5).tolist() == [0.0] * 5


def test_bins_are_open_below_and_closed_above() -> None:
    assert confidence_bins(np.array([0.0, 0.1, 0.2, 0.20001, 1.0]), bins=10).tolist() == [
        0,
        0,
        1,
        2,
        9,
    ]


def test_reliability_curve_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.95, 0.05], [0.45, 0.55]])
    curve = reliability_curve(np.array([0, 1, 1]), probabilities, bins=5)
    assert curve.counts.tolist() == [0, 0, 1, 0, 2]
    np.testing.assert_allclose(curve.confidence, [np.nan, np.nan, 0.55, np.nan, 0.925])
    np.testing.assert_allclose(curve.accuracy, [np.nan, np.nan, 1.0, np.nan, 0.5])


def test_calibrated_probabilities_have_a_small_error() -> None:
    logits, labels = calibrated_logits(1)
    good = classification_metrics(labels, softmax(logits, axis=1), "abcd")["ece"]
    sharp = classification_metrics(labels, softmax(logits * 4, axis=1), "abcd")["ece"]
    assert good < 0.03 < sharp


def posteriors(places: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Bayes' rule for classes that are normal around 0, 2 and 4."""
    densities = np.exp(-0.5 * (places[:, None] - 2 * np.arange(3)) ** 2)
    return densities * shares / (densities * shares).sum(axis=1, keepdims=True)


def test_label_shift_is_found_without_labels_and_undone() -> None:
    generator = np.random.default_rng(0)
    assumed, true = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.3, 0.6])
    places = generator.normal(2 * generator.choice(3, 20_000, p=true))
    found = posteriors(places, assumed)
    estimated = estimate_class_shares(found, assumed)
    assert estimated == pytest.approx(true, abs=0.02)
    assert estimated.sum() == pytest.approx(1)
    # Bayes' rule with the right shares, from the densities and not from other posteriors.
    expected = posteriors(places, true)
    assert with_class_shares(found, assumed, true) == pytest.approx(expected)
    corrected = with_class_shares(found, assumed, estimated)
    assert np.abs(corrected - expected).mean() < 0.01 < np.abs(found - expected).mean()


def test_the_same_shares_change_nothing_and_an_unknown_class_stays_unknown() -> None:
    shares = np.array([0.5, 0.5, 0.0])
    found = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    assert with_class_shares(found, shares, shares) == pytest.approx(found)
    estimated = estimate_class_shares(found, shares)
    assert estimated[2] == 0
    # At the maximum of the likelihood the shares are the mean of what they make of each picture.
    again = with_class_shares(found, shares, estimated).mean(axis=0)
    assert again == pytest.approx(estimated, abs=1e-5)
