"""The bootstrap draws lesions, repeats itself, covers, and is fast."""

import time
from dataclasses import replace

import numpy as np
import pytest

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import (
    Interval,
    bootstrap_metrics,
    lesion_weights,
    percentile_interval,
)
from doctor_derma.evaluation.metrics import classification_metrics
from evaluation.fake_predictions import fake_predictions


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
    twice = np.repeat(np.arange(200), 2)
    doubled = replace(
        fake,
        images=np.array([f"image{index}" for index in range(400)]),
        lesions=fake.lesions[twice],
        paths=fake.paths[twice],
        labels=fake.labels[twice],
        probabilities=fake.probabilities[twice],
        activation_maps=None,
    )
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
