"""Prediction sets: by hand, their guarantee, and what they always hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from doctor_derma.inference.conformal import aps_scores, conformal_threshold, prediction_sets

LOGITS = arrays(
    np.float64, st.tuples(st.integers(1, 8), st.integers(2, 6)), elements=st.floats(0, 9)
)
TWO = np.array([[0.2, 0.5, 0.3], [0.9, 0.04, 0.06]])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_scores_by_hand() -> None:
    np.testing.assert_allclose(aps_scores(TWO), [[0.8, 0.0, 0.5], [0.0, 0.96, 0.9]])


def test_sets_by_hand() -> None:
    assert prediction_sets(TWO, 0.6).tolist() == [[False, True, True], [True, False, False]]
    assert prediction_sets(TWO, 0.0).tolist() == [[False, True, False], [True, False, False]]
    assert prediction_sets(TWO, 1.0).all()


def test_threshold_is_the_corrected_quantile() -> None:
    certain = np.arange(501, 600) / 600
    probabilities = np.stack([certain, 1 - certain], axis=1)[::-1]
    labels = np.ones(99, dtype=int)
    # Of 99 known scores and one new one, 95 are within the 95th smallest.
    assert conformal_threshold(probabilities, labels, 0.95) == certain[94]
    assert conformal_threshold(probabilities, 1 - labels, 0.95) == 0.0
    # 18 are too few: 95% of 19 is more than 18.
    assert conformal_threshold(probabilities[:18], labels[:18], 0.95) == 1.0


@given(logits=LOGITS, threshold=st.floats(0, 1))
def test_a_set_is_never_empty_and_holds_the_most_probable_classes(
    logits: np.ndarray, threshold: float
) -> None:
    probabilities = softmax(logits)
    sets = prediction_sets(probabilities, threshold)
    assert sets[np.arange(len(sets)), probabilities.argmax(axis=1)].all()
    for row, inside in zip(probabilities, sets, strict=True):
        if not inside.all():
            assert row[inside].min() >= row[~inside].max()


@given(logits=LOGITS)
def test_a_higher_threshold_takes_nothing_away(logits: np.ndarray) -> None:
    probabilities = softmax(logits)
    low, high = prediction_sets(probabilities, 0.6), prediction_sets(probabilities, 0.9)
    assert (high | ~low).all()
    assert prediction_sets(probabilities, 1.0).all()


@pytest.mark.parametrize("skill", [0.0, 1.5])
def test_new_images_are_covered_whatever_the_model(skill: float) -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(4, 6000, p=[0.7, 0.2, 0.07, 0.03])
    logits = generator.normal(size=(6000, 4)) + skill * np.eye(4)[labels]
    probabilities = softmax(2 * logits)
    threshold = conformal_threshold(probabilities[:2000], labels[:2000], 0.9)
    sets = prediction_sets(probabilities[2000:], threshold)
    covered = sets[np.arange(4000), labels[2000:]].mean()
    assert 0.88 < covered < 0.92
