"""Paired comparison: alignment, differences, p-values."""

from dataclasses import replace

import numpy as np
import pytest

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.comparison import Comparison, bootstrap_p_value, compare, holm, mcnemar
from doctor_derma.evaluation.metrics import HEADLINE_METRICS
from doctor_derma.evaluation.predictions import Predictions
from evaluation.fake_predictions import fake_predictions

GOOD = fake_predictions(400, skill=3.5, name="good", model_seed=1)
FAIR = fake_predictions(400, skill=2.0, name="fair", model_seed=2)
TWIN = fake_predictions(400, skill=2.0, name="twin", model_seed=3)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare([FAIR, TWIN, GOOD], resamples=300)


def shuffled(model: Predictions, seed: int = 0) -> Predictions:
    rows = np.random.default_rng(seed).permutation(len(model.images))
    assert model.activation_maps is not None
    return replace(
        model,
        images=model.images[rows],
        lesions=model.lesions[rows],
        paths=model.paths[rows],
        labels=model.labels[rows],
        probabilities=model.probabilities[rows],
        activation_maps=model.activation_maps[rows],
    )


def test_differences_are_those_of_the_values(comparison: Comparison) -> None:
    assert len(comparison.differences) == 3 * len(HEADLINE_METRICS)
    for found in comparison.differences:
        values = comparison.intervals
        expected = (
            values[found.second][found.metric].value - values[found.first][found.metric].value
        )
        assert found.interval.value == pytest.approx(expected)


def test_a_better_model_is_told_from_a_worse_one(comparison: Comparison) -> None:
    found = {(d.first, d.second, d.metric): d for d in comparison.differences}
    clear, unclear = found["fair", "good", "accuracy"], found["fair", "twin", "accuracy"]
    assert clear.interval.low > 0
    assert clear.p_holm < 0.05
    assert unclear.interval.low < 0 < unclear.interval.high
    assert unclear.p_value > 0.05
    for difference in comparison.differences:
        assert difference.p_holm >= difference.p_value


def test_pairing_narrows_the_difference(comparison: Comparison) -> None:
    paired = next(
        d for d in comparison.differences if (d.first, d.second) == ("fair", "twin")
    ).interval
    widths = [
        comparison.intervals[name]["macro_auc"].high - comparison.intervals[name]["macro_auc"].low
        for name in ("fair", "twin")
    ]
    assert paired.high - paired.low < np.hypot(*widths)


def test_order_of_images_does_not_matter(comparison: Comparison) -> None:
    again = compare([FAIR, shuffled(TWIN), shuffled(GOOD, 1)], resamples=300)
    assert again.differences == comparison.differences
    assert again.mcnemar == comparison.mcnemar
    assert np.array_equal(again.models[2].images, FAIR.images)
    maps, expected = again.models[2].activation_maps, GOOD.activation_maps
    assert maps is not None
    assert expected is not None
    assert np.array_equal(maps, expected)


def test_a_model_does_not_differ_from_its_copy() -> None:
    found = compare([FAIR, replace(FAIR, name="copy")], resamples=50)
    for difference in found.differences:
        assert difference.interval.value == difference.interval.high == 0
        assert difference.p_value == 1
    assert found.mcnemar[0].p_value == 1


def test_p_value_by_hand() -> None:
    assert bootstrap_p_value(np.array([0.1] * 98 + [-0.1])) == pytest.approx(2 * 2 / 100)
    assert bootstrap_p_value(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p_value(np.array([0.1, -0.1])) == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


def test_mcnemar_counts_lesions() -> None:
    right, wrong = [0.8, 0.2], [0.2, 0.8]
    # Lesion b has two images: its mean is right for the first model.
    first = Predictions(
        "first",
        ("x", "y"),
        images=np.array(["1", "2", "3", "4", "5"]),
        lesions=np.array(["a", "b", "b", "c", "d"]),
        paths=np.full(5, ""),
        labels=np.zeros(5, dtype=np.int64),
        probabilities=np.array([right, [0.9, 0.1], [0.4, 0.6], right, wrong]),
    )
    second = replace(
        first, name="second", probabilities=np.array([wrong, wrong, wrong, wrong, wrong])
    )
    found = mcnemar(first, second)
    assert (found.only_first_right, found.only_second_right) == (3, 0)
    assert found.p_value == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (replace(GOOD, name="fair"), "more than once"),
        (replace(GOOD, classes=tuple("abcdefg")), "different classes"),
        (replace(GOOD, images=np.array([f"other{i}" for i in range(400)])), "different images"),
        (fake_predictions(300, name="short"), "different images"),
        (replace(GOOD, labels=np.roll(GOOD.labels, 1)), "true class"),
    ],
)
def test_models_that_can_not_be_compared_are_named(other: Predictions, sentence: str) -> None:
    with pytest.raises(DermaError, match=sentence):
        compare([FAIR, other], resamples=10)


def test_one_model_is_no_comparison() -> None:
    with pytest.raises(DermaError, match="two or more"):
        compare([FAIR])


def test_mcnemar_does_not_mix_the_classes_of_a_patient() -> None:
    # A data set that knows patients alone: one has a melanoma and two nevi.
    right = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    first = Predictions(
        "first",
        ("mel", "nv"),
        images=np.array(["1", "2", "3"]),
        lesions=np.full(3, "patient 7"),
        paths=np.full(3, ""),
        labels=np.array([0, 1, 1]),
        probabilities=right,
    )
    second = replace(first, name="second", probabilities=1 - right)
    found = mcnemar(first, second)
    assert (found.only_first_right, found.only_second_right) == (2, 0)
