"""Prediction sets: by hand, their guarantee, and what they always hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from doctor_derma.inference.conformal import (
    aps_scores,
    class_thresholds,
    conformal_threshold,
    prediction_sets,
)

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


def test_the_class_that_a_picture_is_called_joins_its_set() -> None:
    sets = prediction_sets(TWO, 0.0, called=np.array([2, 0]))
    assert sets.tolist() == [[False, True, True], [True, False, False]]


def test_equal_classes_come_in_their_order() -> None:
    """Of 40 classes every second has 1/30, the others 1/60 of the probability."""
    probabilities = np.array([[1 / 60, 1 / 30] * 20])
    scores = aps_scores(probabilities)[0]
    np.testing.assert_allclose(scores[1::2], np.arange(20) / 30, atol=1e-12)
    np.testing.assert_allclose(scores[::2], 2 / 3 + np.arange(20) / 60, atol=1e-12)


def test_threshold_is_the_corrected_quantile() -> None:
    certain = np.arange(501, 600) / 600
    probabilities = np.stack([certain, 1 - certain], axis=1)[::-1]
    labels = np.ones(99, dtype=int)
    # Of 99 known scores and one new one, 95 are within the 95th smallest.
    assert conformal_threshold(probabilities, labels, 0.95) == certain[94]
    assert conformal_threshold(probabilities, 1 - labels, 0.95) == 0.0
    # 18 are too few: 95% of 19 is more than 18.
    assert conformal_threshold(probabilities[:18], labels[:18], 0.95) == 1.0


def test_each_class_has_the_corrected_quantile_of_its_own_scores() -> None:
    """99 images of the first class, 19 of the second and 18 of the third, all called the fourth."""
    lead = np.concatenate([np.arange(401, 500), np.arange(601, 620), np.arange(701, 719)]) / 1000
    labels = np.repeat([0, 1, 2], [99, 19, 18])
    probabilities = np.zeros((len(lead), 4))
    probabilities[:, 3] = lead
    probabilities[np.arange(len(lead)), labels] = 1 - lead
    # The score of the true class is the lead of the fourth where that is over a half, else 0.
    scores = np.where(lead > 0.5, lead, 0.0)
    found = class_thresholds(probabilities, labels, 0.95)
    assert found[0] == np.sort(scores[:99])[94]
    assert found[1] == scores[117]  # 95% of 20 are 19: the largest
    # 18 are too few and the fourth class has none: the threshold of all 136 images.
    assert found[2] == found[3] == np.sort(scores)[int(np.ceil(137 * 0.95)) - 1]


def test_a_class_of_few_images_has_the_threshold_of_all_at_the_same_target() -> None:
    """Two images of the second class are too few for 80%; of all 21 scores the 18th is needed."""
    lead = np.arange(601, 622) / 1000
    labels = np.array([0] * 19 + [1] * 2)
    probabilities = np.stack([1 - lead, np.zeros(21), lead], axis=1)
    probabilities[labels == 1] = probabilities[labels == 1][:, [1, 0, 2]]
    # 80% of 20 are 16, and 80% of 22 are 17.6.
    assert class_thresholds(probabilities, labels, 0.8)[:2] == (lead[15], lead[17])


def test_a_set_holds_a_class_by_the_threshold_of_that_class() -> None:
    assert prediction_sets(TWO, (0.8, 0.0, 0.4)).tolist() == [
        [True, True, False],
        [True, False, False],
    ]


def test_each_class_is_covered_where_one_threshold_leaves_rare_ones_out() -> None:
    generator = np.random.default_rng(0)
    shares = np.array([0.85, 0.1, 0.05])
    labels = generator.choice(3, 12_000, p=shares)
    logits = generator.normal(size=(12_000, 3)) + 1.5 * np.eye(3)[labels] + np.log(shares)
    probabilities, new = softmax(logits), labels[6000:]
    coverage = []
    for fit in (conformal_threshold, class_thresholds):
        sets = prediction_sets(probabilities[6000:], fit(probabilities[:6000], labels[:6000], 0.9))
        inside = sets[np.arange(6000), new]
        coverage.append([inside[new == k].mean() for k in range(3)])
    marginal, conditional = coverage
    assert marginal[2] < 0.8
    assert min(conditional) > 0.86  # Of the rare class there are 300 images in each half.


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
