"""A rule is chosen on ten pictures that can be counted by hand, and the model decides by it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from doctor_derma.bundle import BundleInfo, read_info
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.export.chosen_rule import choose_rule
from evaluation.test_operating_points import SCORES, ten_pictures


@pytest.fixture
def info(bundle: Path) -> BundleInfo:
    info = read_info(bundle)
    return info.model_copy(update={"metrics": {"val": {"accuracy": 0.5}, "test": {"accuracy": 1}}})


@pytest.fixture
def ten() -> Predictions:
    """Four melanomas, by their probabilities, and six nevi."""
    return replace(
        ten_pictures(),
        classes=("mel", "nv", "vasc"),
        labels=np.array([0] * 4 + [1] * 6),
        probabilities=np.stack([SCORES, 1 - SCORES, np.zeros(10)], axis=1),
    )


def test_a_sensitivity_is_a_threshold_with_what_it_does(info: BundleInfo, ten: Predictions) -> None:
    chosen = choose_rule(info, ten, "malignant", sensitivity=0.75)
    assert chosen.target == "a sensitivity of 75%"
    assert chosen.figures["ppv"].value == pytest.approx(3 / 4)
    decision, point = chosen.info.decision, chosen.info.decision.operating_point
    assert point is not None
    assert (decision.default, point.classes, point.question) == (
        *("operating-point", ("mel",), "malignant"),
    )
    # Over 0.55 there are three melanomas and a nevus.
    assert point.threshold == pytest.approx(0.55)
    expected = {"sensitivity": (3 / 4, 4), "specificity": (5 / 6, 6), "review_rate": (4 / 10, 10)}
    for name, (value, images) in expected.items():
        found = getattr(point, name)
        assert (found.value, found.images) == (pytest.approx(value), images)
        assert found.low <= value <= found.high
    # What was measured by another rule is gone; the figures of the others stay.
    assert set(chosen.info.metrics) == {"val"}
    assert chosen.info.metrics["val"]["accuracy"] == pytest.approx(8 / 10)
    assert decision.figures["operating-point"].called == pytest.approx((0.4, 0.6, 0))
    assert info.decision.operating_point is None


def test_a_review_rate_is_kept(info: BundleInfo, ten: Predictions) -> None:
    chosen = choose_rule(info, ten, "melanoma", review_rate=0.2)
    point = chosen.info.decision.operating_point
    assert point is not None
    assert (point.question, point.target) == ("melanoma", "a review rate of 20%")
    assert point.threshold == pytest.approx(0.75)
    assert point.review_rate.value == pytest.approx(0.2)


def test_costs_decide_without_a_threshold(
    info: BundleInfo, ten: Predictions, tmp_path: Path
) -> None:
    costs = tmp_path / "costs.yaml"
    # A missed melanoma as bad as three false calls: it is called over a quarter.
    costs.write_text("costs: {mel: {nv: 3, vasc: 3}}\n")
    chosen = choose_rule(info, ten, "malignant", costs=costs)
    point = chosen.info.decision.operating_point
    assert point is not None
    assert (chosen.info.decision.default, point.threshold) == ("costs", None)
    assert chosen.target == point.target == "the costs of costs.yaml"
    assert point.sensitivity.value == 1
    assert chosen.figures["review_rate"].value == pytest.approx(7 / 10)


def test_a_question_with_images_of_one_side_is_refused(info: BundleInfo, ten: Predictions) -> None:
    with pytest.raises(DermaError, match="malignant against benign can't be asked"):
        choose_rule(info, ten.take(np.arange(4)), "malignant", sensitivity=0.9)
