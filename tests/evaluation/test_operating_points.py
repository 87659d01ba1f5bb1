"""Thresholds, net benefit and costs of ten pictures that can be counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.operating_points import (
    asked,
    expected_cost,
    measure_calls,
    measure_questions,
    measure_thresholds,
    plot_operating_points,
    threshold_for_review_rate,
    threshold_for_sensitivity,
)
from doctor_derma.evaluation.predictions import Predictions

SCORES = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.5, 0.4, 0.2, 0.1, 0.05])
POSITIVE = np.array([True] * 4 + [False] * 6)


def ten_pictures() -> Predictions:
    """Four malignant ones, half of their score melanoma's, and six nevi."""
    half = SCORES / 2
    return Predictions(
        name="ten",
        classes=("bcc", "mel", "nv"),
        images=np.arange(10).astype(str),
        lesions=np.arange(10).astype(str),
        paths=np.full(10, ""),
        labels=np.array([0, 1, 1, 1] + [2] * 6),
        probabilities=np.stack([half, half, 1 - SCORES], axis=1),
    )


def test_the_score_is_the_sum_over_the_positive_classes() -> None:
    scores, positive = asked("malignant", ten_pictures())
    np.testing.assert_allclose(scores, SCORES)
    assert positive.tolist() == POSITIVE.tolist()
    scores, positive = asked("melanoma", ten_pictures())
    np.testing.assert_allclose(scores, SCORES / 2)
    assert positive.sum() == 3
    with pytest.raises(DermaError, match="ten: malignant against benign can't be asked"):
        asked("malignant", ten_pictures().take(np.arange(4)))


def test_scores_that_add_up_to_more_than_1_by_rounding_are_1() -> None:
    sure = replace(
        ten_pictures(), probabilities=np.array([[0.6, 0.4000001, 0.0], *[[0.2, 0.2, 0.6]] * 9])
    )
    scores, _ = asked("malignant", sure)
    assert scores[0] == 1
    # Of ten pictures one may be reviewed: that one.
    assert (scores > threshold_for_review_rate(scores, 0.1)).sum() == 1


@pytest.mark.parametrize(
    ("target", "threshold"), [(0.25, 0.85), (0.5, 0.75), (0.51, 0.55), (0.75, 0.55), (1.0, 0.25)]
)
def test_the_greatest_threshold_with_a_sensitivity(target: float, threshold: float) -> None:
    found = threshold_for_sensitivity(SCORES, POSITIVE, target)
    assert found == pytest.approx(threshold)
    assert np.mean(SCORES[POSITIVE] > found) >= target


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.1, 0.85), (0.3, 0.65), (0.39, 0.65), (0.05, 0.95), (0.9, 0.075)]
)
def test_at_most_so_many_are_reviewed(rate: float, threshold: float) -> None:
    found = threshold_for_review_rate(SCORES, rate)
    assert found == pytest.approx(threshold)
    assert np.mean(found < SCORES) <= rate


def test_of_equal_scores_all_or_none_are_reviewed() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    found = threshold_for_review_rate(scores, 0.4)
    assert (scores > found).tolist() == [True, False, False, False, False]


def test_what_calls_do() -> None:
    found = measure_calls(SCORES > 0.45, POSITIVE, np.arange(10).astype(str), resamples=200)
    values = {name: interval.value for name, interval in found.items()}
    assert values == pytest.approx(
        {"sensitivity": 3 / 4, "specificity": 4 / 6, "review_rate": 0.5, "ppv": 3 / 5}
    )
    for interval in found.values():
        assert interval.low < interval.value < interval.high


def test_net_benefit_by_hand() -> None:
    frame = measure_thresholds(ten_pictures(), "malignant", resamples=5).set_index("threshold")
    # Over 0.25: four malignant and three nevi, each of these at the price of a third.
    at = frame.iloc[np.flatnonzero(np.isclose(frame.index, 0.25))[0]]
    assert at["net_benefit"] == pytest.approx(4 / 10 - 3 / 10 / 3)
    assert at["of_all"] == pytest.approx(4 / 10 - 6 / 10 / 3)
    assert (at["sensitivity"], at["specificity"]) == pytest.approx((1, 0.5))
    assert at["net_benefit_low"] <= at["net_benefit"] <= at["net_benefit_high"]


def test_the_other_question_is_measured_where_it_can_be_asked() -> None:
    pictures = ten_pictures()
    frame = measure_questions(pictures, "melanoma", resamples=5)
    assert list(frame["question"].unique()) == ["malignant", "melanoma"]
    # Of the malignant pictures alone only which are melanomas.
    malignant = pictures.take(np.arange(4))
    frame = measure_questions(malignant, "melanoma", resamples=5)
    assert list(frame["question"].unique()) == ["melanoma"]
    with pytest.raises(DermaError, match="malignant against benign can't be asked"):
        measure_questions(malignant, "malignant", resamples=5)


def test_expected_cost_by_hand() -> None:
    # Only misses count at 1, only false calls at 0, and both alike in the middle.
    cost = expected_cost(np.array([0.0, 0.5, 1.0]), sensitivity=0.8, specificity=0.6)
    assert cost.tolist() == pytest.approx([0.4, 0.3, 0.2])


def test_the_plot_has_three_panels_a_question_and_the_chosen_point() -> None:
    frame = measure_thresholds(ten_pictures(), "malignant", resamples=5)
    point = measure_calls(SCORES > 0.45, POSITIVE, np.arange(10).astype(str), resamples=20)
    axes = plot_operating_points(frame, {"malignant": point}).axes
    assert [one.get_title(loc="left") for one in axes] == [
        "Malignant against benign",
        "Decision curve (band: 95% interval)",
        "Cost curve",
    ]
    [told] = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert told == "chosen: sensitivity 0.75, specificity 0.67"
    chosen = {line.get_label(): line for line in axes[2].lines}["chosen"]
    assert chosen.get_ydata()[[0, -1]].tolist() == pytest.approx([1 / 3, 1 / 4])
