"""Metrics against scikit-learn, hand values and repeated rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from doctor_derma.evaluation.metrics import (
    classification_metrics,
    ratio,
    weighted_metrics,
    weighted_sensitivity_at_specificity,
)
from evaluation.fake_predictions import fake_predictions

TWO = ("benign", "malignant")


@pytest.fixture
def values() -> dict[str, float]:
    fake = fake_predictions(400)
    return classification_metrics(fake.labels, fake.probabilities, fake.classes)


def test_decisions_equal_scikit_learn(values: dict[str, float]) -> None:
    fake = fake_predictions(400)
    labels, called = fake.labels, fake.probabilities.argmax(axis=1)
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(labels, called))
    assert values["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, called))
    recall = sk.recall_score(labels, called, average=None)
    precision = sk.precision_score(labels, called, average=None)
    for index, name in enumerate(fake.classes):
        assert values[f"sensitivity_{name}"] == pytest.approx(recall[index])
        assert values[f"ppv_{name}"] == pytest.approx(precision[index])
        specificity = sk.recall_score(labels != index, called != index)
        assert values[f"specificity_{name}"] == pytest.approx(specificity)


def test_rank_metrics_equal_scikit_learn(values: dict[str, float]) -> None:
    fake = fake_predictions(400)
    macro = sk.roc_auc_score(fake.labels, fake.probabilities, multi_class="ovr", average="macro")
    assert values["macro_auc"] == pytest.approx(macro, abs=1e-6)
    for index, name in enumerate(fake.classes):
        positive, scores = fake.labels == index, fake.probabilities[:, index]
        assert values[f"auc_{name}"] == pytest.approx(sk.roc_auc_score(positive, scores))
        precision = sk.average_precision_score(positive, scores)
        assert values[f"average_precision_{name}"] == pytest.approx(precision)


def test_probability_scores_equal_scikit_learn(values: dict[str, float]) -> None:
    fake = fake_predictions(400)
    probabilities = fake.probabilities / fake.probabilities.sum(axis=1, keepdims=True)
    assert values["log_loss"] == pytest.approx(sk.log_loss(fake.labels, probabilities), abs=1e-6)
    summed = sum(
        sk.brier_score_loss(fake.labels == index, probabilities[:, index])
        for index in range(len(fake.classes))
    )
    assert values["brier"] == pytest.approx(summed, abs=1e-6)


def test_calibration_error_by_hand() -> None:
    # Two images at 0.95, one right: gap 0.45. Two at 0.6, both right: gap 0.4.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6], [0.4, 0.6]])
    values = classification_metrics(np.array([0, 1, 1, 1]), probabilities, TWO)
    assert values["ece"] == pytest.approx((2 * 0.45 + 2 * 0.4) / 4)
    assert values["brier"] == pytest.approx((0.005 + 2 * 0.95**2 + 2 * 2 * 0.4**2) / 4)


def test_a_probability_rounded_over_1_is_no_gain() -> None:
    probabilities = np.array([[1 + 1e-7, 0], [0.5, 0.5]])
    values = classification_metrics(np.array([0, 1]), probabilities, TWO)
    assert values["log_loss"] == pytest.approx(np.log(2) / 2, abs=1e-12)


def test_decisions_are_of_the_class_that_is_called_and_the_rest_of_the_probabilities() -> None:
    """Four images that are called otherwise than by the greatest probability."""
    labels, called = np.array([0, 0, 1, 1]), np.array([1, 0, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    values = classification_metrics(labels, probabilities, TWO, called)
    assert values["accuracy"] == sk.accuracy_score(labels, called) == 0.5
    assert values["sensitivity_malignant"] == sk.recall_score(labels, called) == 0.5
    # One of four is not what its greatest probability says.
    assert values["ece"] == pytest.approx((0.1 + 0.4 + 0.2 + 0.7) / 4)
    assert values["macro_auc"] == sk.roc_auc_score(labels, probabilities[:, 1])


def test_certain_and_wrong_has_a_finite_loss() -> None:
    values = classification_metrics(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]), TWO)
    assert np.isfinite(values["log_loss"])
    assert values["log_loss"] > 10


@pytest.mark.filterwarnings("error")
def test_absent_class_is_nan_and_left_out_of_the_means() -> None:
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.7, 0.3, 0], [0.4, 0.6, 0], [0.2, 0.8, 0], [0.3, 0.7, 0]])
    values = classification_metrics(labels, probabilities, ("a", "b", "never"))
    ranking = ("auc", "average_precision", "sensitivity_at_90_specificity")
    for metric in (*ranking, "sensitivity", "ppv"):
        assert np.isnan(values[f"{metric}_never"])
    assert values["specificity_never"] == 1
    assert values["balanced_accuracy"] == pytest.approx(0.75)
    assert values["macro_auc"] == pytest.approx((values["auc_a"] + values["auc_b"]) / 2)


def test_one_class_only_leaves_the_auc_undefined() -> None:
    values = classification_metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.4, 0.6]]), TWO)
    assert np.isnan(values["macro_auc"])
    assert values["accuracy"] == 0.5


@st.composite
def weighted_cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, coarse probabilities (many ties) and how often each case counts."""
    count = draw(st.integers(2, 25))
    numbers = st.integers(1, 4)
    grid = draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    times = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count).filter(any))
    odds = np.array(grid, dtype=float)
    return np.array(labels), odds / odds.sum(axis=1, keepdims=True), np.array(times)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(weighted_cases())
def test_weights_equal_repeated_rows(cases: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    labels, probabilities, times = cases
    classes = ("a", "b", "c")
    ones = np.ones(len(labels))
    weighted = weighted_metrics(labels, probabilities, classes, np.stack([times, ones]))
    rows = np.repeat(np.arange(len(labels)), times)
    repeated = classification_metrics(labels[rows], probabilities[rows], classes)
    plain = classification_metrics(labels, probabilities, classes)
    for name in repeated:
        np.testing.assert_allclose(
            weighted[name], [repeated[name], plain[name]], atol=1e-12, err_msg=name
        )


def test_sensitivity_at_90_specificity_equals_the_roc_curve(values: dict[str, float]) -> None:
    fake = fake_predictions(400)
    for index, name in enumerate(fake.classes):
        false_rate, true_rate, _ = sk.roc_curve(
            fake.labels == index, fake.probabilities[:, index], drop_intermediate=False
        )
        best = true_rate[1 - false_rate >= 0.9].max()
        assert values[f"sensitivity_at_90_specificity_{name}"] == pytest.approx(best)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # Ten negatives at 0.0 to 0.9: above 0.9 none is called, at 0.9 one is, at 0.8 two are.
        ([0.95, 0.85, 0.84, 0.5], 3 / 4),
        ([0.95, 0.9, 0.8, 0.5], 2 / 4),  # A tie with a negative is called with it.
        ([0.1, 0.1, 0.1, 0.1], 0),
        ([1.0, 1.0, 1.0, 1.0], 1),
    ],
)
def test_sensitivity_at_90_specificity_by_hand(scores: list[float], expected: float) -> None:
    positive = np.array(scores + [index / 10 for index in range(10)])
    labels = np.array([1] * 4 + [0] * 10)
    probabilities = np.stack([1 - positive, positive], axis=1)
    values = classification_metrics(labels, probabilities, TWO)
    assert values["sensitivity_at_90_specificity_malignant"] == pytest.approx(expected)


@given(count=st.integers(1, 60))
def test_a_specificity_of_exactly_90_is_enough(count: int) -> None:
    # Nine of ten negatives are below the positive case, whatever their weight.
    positive = np.array([False] * 10 + [True])
    scores = np.array([0.1] * 9 + [0.9, 0.5])
    weights = np.full((1, 11), float(count))
    for level, expected in ((0.9, 1), (0.91, 0)):
        found = weighted_sensitivity_at_specificity(positive, scores, weights, level)
        assert found.tolist() == [expected]


def test_sensitivity_needs_a_negative_case_with_weight_and_no_more() -> None:
    positive, scores = np.array([True, False]), np.array([0.8, 0.2])
    weights = np.array([[1.0, 1.0], [1.0, 0.25], [1.0, 0.0], [0.0, 1.0]])
    found = weighted_sensitivity_at_specificity(positive, scores, weights, 0.9)
    np.testing.assert_array_equal(found, [1, 1, np.nan, np.nan])


def test_ratio_stretches_both_sides_and_is_nan_over_0() -> None:
    column, row = np.array([[1.0], [6.0]]), np.array([2.0, 0.0, 4.0])
    expected = [[0.5, np.nan, 0.25], [3.0, np.nan, 1.5]]
    np.testing.assert_array_equal(ratio(column, row), expected)
    np.testing.assert_array_equal(ratio(row, column), [[2, 0, 4], [1 / 3, 0, 2 / 3]])
    np.testing.assert_array_equal(
        ratio(np.ones((2, 3)), column * [[1], [0]]), [[1] * 3, [np.nan] * 3]
    )


def test_ties_count_half() -> None:
    values = classification_metrics(np.array([0, 1, 0, 1]), np.full((4, 2), 0.5), TWO)
    assert values["macro_auc"] == 0.5
