"""The bootstrap draws lesions, repeats itself, covers, and is fast."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from doctor_derma.errors import DermaError
from doctor_derma.evaluation import bootstrap as module
from doctor_derma.evaluation.bootstrap import (
    Interval,
    bootstrap,
    bootstrap_metrics,
    bootstrap_rules,
    chunk_sizes,
    lesion_weights,
    percentile_interval,
)
from doctor_derma.evaluation.metrics import classification_metrics
from evaluation.fake_predictions import CLASSES, fake_predictions, rulebook


def test_images_of_a_lesion_are_drawn_together() -> None:
    lesions = np.array(["b", "a", "b", "c", "a"])
    (weights,) = lesion_weights(lesions, [200], seed=3)
    assert np.array_equal(weights[:, 0], weights[:, 2])
    assert np.array_equal(weights[:, 1], weights[:, 4])
    drawn = weights[:, 0] + weights[:, 1] + weights[:, 3]
    assert np.array_equal(drawn, np.full(200, 3.0))
    assert len(np.unique(weights, axis=0)) > 5


def test_draws_do_not_depend_on_the_chunks() -> None:
    lesions = np.array(["a", "b", "c", "d"])
    whole = np.concatenate(list(lesion_weights(lesions, [6], seed=1)))
    parts = np.concatenate(list(lesion_weights(lesions, [2, 3, 1], seed=1)))
    assert np.array_equal(whole, parts)


def test_every_metric_has_its_value_within_an_interval() -> None:
    fake = fake_predictions(300)
    intervals = bootstrap_metrics(fake, resamples=200)
    values = classification_metrics(fake.labels, fake.probabilities, fake.classes)
    assert intervals.keys() == values.keys()
    for name, interval in intervals.items():
        assert interval.value == values[name]
        if name != "ece":  # the binned error is biased upwards in resamples
            assert interval.low <= interval.value <= interval.high


def test_seed_repeats() -> None:
    fake = fake_predictions(600)
    first = bootstrap_metrics(fake, resamples=100, seed=7)
    assert bootstrap_metrics(fake, resamples=100, seed=7) == first
    assert bootstrap_metrics(fake, resamples=100, seed=8) != first


def test_interval_of_a_share_is_that_of_the_binomial() -> None:
    fake = fake_predictions(600)
    alone = replace(fake, lesions=fake.images)
    found = bootstrap_metrics(alone, resamples=1500)["accuracy"]
    half = 1.96 * np.sqrt(found.value * (1 - found.value) / 600)
    assert found.low == pytest.approx(found.value - half, abs=0.006)
    assert found.high == pytest.approx(found.value + half, abs=0.006)


def test_repeating_every_image_does_not_narrow_the_interval() -> None:
    fake = fake_predictions(200)
    twice = fake.take(np.repeat(np.arange(200), 2))
    doubled = replace(twice, images=np.array([f"image{index}" for index in range(400)]))
    once = bootstrap_metrics(fake, resamples=200)["accuracy"]
    again = bootstrap_metrics(doubled, resamples=200)["accuracy"]
    assert (again.low, again.high) == pytest.approx((once.low, once.high))


@pytest.mark.filterwarnings("error")
def test_undefined_metric_has_no_limits() -> None:
    fake = fake_predictions(60)
    absent = replace(fake, labels=np.where(fake.labels == 3, 5, fake.labels))
    interval = bootstrap_metrics(absent, resamples=20)["auc_df"]
    assert np.isnan([interval.value, interval.low, interval.high]).all()
    assert str(interval) == interval.signed == "undefined"


def test_resamples_without_a_class_are_left_out() -> None:
    interval = percentile_interval(np.array([0.5, 0.4, np.nan, 0.6]))
    assert 0.4 <= interval.low < interval.high <= 0.6


def test_limits_are_the_95_percent_quantiles() -> None:
    # Of 41 draws at even steps, 1/40 of the way in is the second and the last but one.
    interval = percentile_interval(np.array([0.5, *np.linspace(0, 1, 41)]))
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.5, 0.025, 0.975))


def test_one_defined_draw_is_both_limits_and_none_without_a_value() -> None:
    assert percentile_interval(np.array([0.5, np.nan, 0.4])) == Interval(0.5, 0.4, 0.4)
    undefined = percentile_interval(np.array([np.nan, 0.3, 0.4]))
    assert np.isnan([undefined.low, undefined.high]).all()
    without = percentile_interval(np.array([0.5, np.nan]))
    assert without.value == 0.5
    assert np.isnan([without.low, without.high]).all()


@pytest.mark.parametrize(
    ("resamples", "images", "sizes"),
    [
        (1, 1, [1]),
        (50, 10, [50]),
        (120, 10, [50, 50, 20]),
        # 4 million weights at a time, but one resample at least.
        (5, 2_000_000, [2, 2, 1]),
        (2, 4_000_001, [1, 1]),
    ],
)
def test_resamples_are_drawn_in_chunks(resamples: int, images: int, sizes: list[int]) -> None:
    assert chunk_sizes(resamples, images) == sizes


def test_a_statistic_of_ones_own_has_the_quantiles_of_its_draws() -> None:
    """The measure is told of the images as they are, then of 1000 draws of four lesions."""
    seen: list[np.ndarray] = []

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(weights)
        return {"first": weights[:, 0], "mean": weights @ np.arange(6) / weights.sum(axis=1)}

    lesions = np.array(["a", "b", "b", "c", "d", "d"])
    found = bootstrap(lesions, measure)
    weights = np.concatenate(seen)
    assert weights.shape == (1001, 6)
    assert weights[0].tolist() == [1] * 6
    draws = weights[1:] @ np.arange(6) / weights[1:].sum(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found["first"].value == 1
    assert found["mean"] == Interval(2.5, pytest.approx(low), pytest.approx(high))
    # The draws are those of seed 0, and another seed has others.
    seen.clear()
    bootstrap(lesions, measure, seed=0)
    assert np.array_equal(np.concatenate(seen), weights)
    seen.clear()
    bootstrap(lesions, measure, resamples=60, seed=1)
    assert np.concatenate(seen).shape == (61, 6)
    assert not np.array_equal(np.concatenate(seen), weights[:61])


def test_the_seed_is_0_where_none_is_said() -> None:
    fake = fake_predictions(60)
    assert str(bootstrap_metrics(fake, 20)) == str(bootstrap_metrics(fake, 20, seed=0))
    assert str(bootstrap_rules(fake, 20)) == str(bootstrap_rules(fake, 20, seed=0))


def test_every_rule_has_the_figures_of_the_classes_that_it_calls() -> None:
    fake = replace(fake_predictions(300), rulebook=rulebook("most-probable", threshold=0.1))
    found = bootstrap_rules(fake, resamples=60, seed=5)
    assert set(found) == {"balanced", "most-probable", "melanoma-first"}
    melanoma = fake.labels == CLASSES.index("mel")
    for rule, intervals in found.items():
        called = fake.decide(fake.probabilities, rule)
        found_melanoma = called == CLASSES.index("mel")
        assert {name: interval.value for name, interval in intervals.items()} == pytest.approx(
            {
                "balanced_accuracy": sk.balanced_accuracy_score(fake.labels, called),
                "accuracy": sk.accuracy_score(fake.labels, called),
                "sensitivity_mel": sk.recall_score(melanoma, found_melanoma),
                "specificity_mel": sk.recall_score(~melanoma, ~found_melanoma),
            }
        )
    # The draws are those of every other metric, and these are of the rule that is the default.
    for default in ("most-probable", "melanoma-first"):
        ruled = replace(fake, rulebook=rulebook(default, threshold=0.1))
        of_all = bootstrap_metrics(ruled, resamples=60, seed=5)
        for name, interval in found[default].items():
            assert interval == of_all[name]


def test_without_the_class_of_melanoma_there_are_no_figures_of_it() -> None:
    two = fake_predictions(60, classes=("a", "b"), shares=(0.5, 0.5))
    assert list(bootstrap_rules(two, 5)["most-probable"]) == ["balanced_accuracy", "accuracy"]


def test_the_bar_ends_when_the_draws_do(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def bar(steps: Iterator[np.ndarray], description: str, total: int) -> Iterator[np.ndarray]:
        taken = list(steps)
        shown.append((description, total, len(taken)))
        yield from taken

    monkeypatch.setattr(module, "with_progress", bar)
    bootstrap_metrics(fake_predictions(30), resamples=120)
    assert shown == [("Bootstrap over lesions", 4, 4)]


def test_texts() -> None:
    assert str(Interval(0.9, 0.85, 0.9499)) == "0.900 (0.850–0.950)"  # noqa: RUF001
    assert Interval(-0.01, -0.03, 0.02).signed == "-0.010 (-0.030 to +0.020)"


def test_a_bootstrap_without_draws_is_refused() -> None:
    with pytest.raises(DermaError, match="resamples: 0 is too few"):
        bootstrap_metrics(fake_predictions(30), resamples=0)


def test_a_test_split_takes_seconds() -> None:
    fake = fake_predictions(1500)
    start = time.process_time()
    bootstrap_metrics(fake, resamples=1000)
    assert time.process_time() - start < 20
