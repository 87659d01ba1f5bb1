"""Drift against figures computed by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import Rule
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.drift import ODDITIES, Drift, expected_shares
from tiny_bundle import ALL_RULES


@pytest.fixture
def info(classifier: Classifier) -> BundleInfo:
    return classifier.info


def said(
    label: str,
    unfamiliarity: float = 0.5,
    warnings: tuple = (),
    rule: Rule = "most-probable",
    patient_data: tuple = (),
) -> Prediction:
    seen = ({label: 1.0}, (label,), unfamiliarity, warnings, np.zeros((1, 1)))
    return Prediction(label, rule, *seen, patient_data)


def test_without_more_a_class_is_expected_as_often_as_in_training(info: BundleInfo) -> None:
    assert expected_shares(info) == pytest.approx({"mel": 0.2, "nv": 0.7, "vasc": 0.1})


def test_expected_are_the_calls_that_the_model_makes_on_validation(info: BundleInfo) -> None:
    metrics = {
        **{"sensitivity_mel": 0.5, "specificity_mel": 0.75},
        **{"sensitivity_nv": 0.8, "specificity_nv": 0.6},
        **{"sensitivity_vasc": 0.2, "specificity_vasc": 0.9},
    }
    shares = expected_shares(info.model_copy(update={"metrics": {"val": metrics}}))
    # mel: 0.2 * 0.5 + 0.8 * 0.25 = 0.30; nv: 0.7 * 0.8 + 0.3 * 0.4 = 0.68;
    # vasc: 0.1 * 0.2 + 0.9 * 0.1 = 0.11; they sum to 1.09.
    assert shares == pytest.approx({"mel": 0.30 / 1.09, "nv": 0.68 / 1.09, "vasc": 0.11 / 1.09})


def test_expected_are_the_calls_of_the_rule_that_decides(info: BundleInfo) -> None:
    ruled = info.model_copy(update={"decision": ALL_RULES})
    assert expected_shares(ruled) == pytest.approx({"mel": 0.3, "nv": 0.5, "vasc": 0.2})
    other = expected_shares(ruled.deciding("most-probable"))
    assert other == pytest.approx({"mel": 0.1, "nv": 0.85, "vasc": 0.05})


def test_what_another_rule_or_patient_data_called_is_no_drift(info: BundleInfo) -> None:
    drift, alone = Drift(info, least=1), Drift(info, least=1)
    for other in ({"rule": "balanced"}, {"patient_data": ("age",)}):
        assert not drift.add(said("mel", **other))  # type: ignore[arg-type]
        assert math.isnan(drift.class_stability)
    for each in (drift, alone):
        assert each.add(said("nv"))
    assert drift.class_stability == alone.class_stability


def test_what_a_picture_is_like_counts_whatever_called_it(info: BundleInfo) -> None:
    drift = Drift(info, least=1)
    drift.add(said("mel", rule="balanced", unfamiliarity=2, warnings=("dark",)))
    drift.add(said("mel", patient_data=("age",), unfamiliarity=2))
    drift.add(said("nv"))
    drift.add(said("nv"))
    assert (drift.share("unfamiliar"), drift.share("dark")) == (0.5, 0.25)


def test_an_undefined_figure_falls_back_and_no_share_is_zero(info: BundleInfo) -> None:
    metrics = {
        **{"sensitivity_mel": math.nan, "specificity_mel": 0.9},
        **{"sensitivity_nv": 0.0, "specificity_nv": 1.0},
    }
    shares = expected_shares(info.model_copy(update={"metrics": {"val": metrics}}))
    total = 0.2 + 1e-4 + 0.1
    assert shares == pytest.approx({"mel": 0.2 / total, "nv": 1e-4 / total, "vasc": 0.1 / total})


def test_nothing_is_said_of_few_pictures(info: BundleInfo) -> None:
    drift = Drift(info, window=10, least=4)
    for _ in range(3):
        drift.add(said("nv"))
    assert math.isnan(drift.class_stability)
    assert all(math.isnan(drift.share(oddity)) for oddity in ODDITIES)
    drift.add(said("nv"))
    assert math.isfinite(drift.class_stability)
    assert drift.share("dark") == 0


def test_the_index_is_as_by_hand(info: BundleInfo) -> None:
    drift = Drift(info, window=10, least=4)
    for label in ("mel", "mel", "nv", "vasc"):
        drift.add(said(label))
    # Half a picture more each: 2.5, 1.5 and 1.5 of 5.5.
    found = (2.5 / 5.5, 1.5 / 5.5, 1.5 / 5.5)
    expected = (0.2, 0.7, 0.1)
    index = sum((f - e) * math.log(f / e) for f, e in zip(found, expected, strict=True))
    assert drift.class_stability == pytest.approx(index)


def test_pictures_as_expected_are_no_drift_and_others_are(info: BundleInfo) -> None:
    usual, odd = Drift(info), Drift(info)
    for index in range(1000):
        usual.add(said("mel" if index % 10 < 2 else "nv" if index % 10 < 9 else "vasc"))
        odd.add(said("mel" if index % 2 else "nv"))
    assert usual.class_stability < 1e-4
    assert odd.class_stability > 0.25


def test_the_window_forgets(info: BundleInfo) -> None:
    drift = Drift(info, window=4, least=2)
    for _ in range(4):
        drift.add(said("mel", unfamiliarity=1.5, warnings=("dark", "small")))
    assert [drift.share(oddity) for oddity in ODDITIES] == [1, 0, 0, 1, 1]
    for _ in range(3):
        drift.add(said("nv", warnings=("blurred",)))
    assert [drift.share(oddity) for oddity in ODDITIES] == [0.25, 0, 0.75, 0.25, 0.25]
    only_nv = Drift(info, window=4, least=2)
    drift.add(said("nv"))
    for _ in range(4):
        only_nv.add(said("nv"))
    assert drift.class_stability == only_nv.class_stability


def test_a_class_may_be_called_like_an_oddity(classifier: Classifier, tmp_path: Path) -> None:
    first, *others = classifier.info.classes
    renamed = (first.model_copy(update={"name": "dark"}), *others)
    drift = Drift(classifier.info.model_copy(update={"classes": renamed}), window=4, least=2)
    drift.add(said("dark"))
    drift.add(said("dark"))
    assert drift.share("dark") == 0
