"""The stages of calibration, worked out backwards from the shipped probabilities."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from doctor_derma.audits.calibration import (
    calibration_table,
    calibration_versions,
    measure_calibration,
)
from evaluation.fake_predictions import CLASSES, SHARES, fake_predictions


@pytest.mark.parametrize("prior_weight", [0.0, 0.25, 1.0])
def test_temperature_and_prior_weight_are_undone(prior_weight: float) -> None:
    predictions = fake_predictions(50)
    evidence = np.random.default_rng(0).normal(size=(50, len(CLASSES)))
    offsets = (prior_weight - 1) * np.log(SHARES)
    shipped = replace(predictions, probabilities=softmax((evidence + offsets) / 1.7, axis=1))
    found = calibration_versions(shipped, 1.7, prior_weight, np.array(SHARES))
    assert found["shipped"] is shipped
    weighted = softmax(evidence + offsets, axis=1)
    np.testing.assert_allclose(found["before"].probabilities, softmax(evidence, axis=1))
    np.testing.assert_allclose(found["weighted"].probabilities, weighted)


def test_a_probability_of_zero_does_no_harm() -> None:
    predictions = fake_predictions(5)
    certain = replace(predictions, probabilities=np.eye(len(CLASSES))[:5])
    for version in calibration_versions(certain, 2.0, 1.0, np.array(SHARES)).values():
        assert bool(np.isfinite(version.probabilities).all())


def test_versions_are_measured_and_shown() -> None:
    versions = calibration_versions(fake_predictions(150), 3.0, 1.0, np.array(SHARES))
    frame = measure_calibration(versions, resamples=20)
    found = {(row["version"], row["metric"]): row for row in frame.to_dict("records")}
    ece = {name: found[name, "ece"]["value"] for name in versions}
    assert ece["weighted"] != ece["shipped"]
    assert found["weighted", "accuracy"]["value"] == found["shipped", "accuracy"]["value"]
    # At a prior weight of 1 the shares count as they are.
    assert ece["before"] == pytest.approx(ece["weighted"])
    for version in versions:
        chance = found[version, "ece_by_chance"]
        assert 0 < chance["low"] < chance["value"] < chance["high"]
    table = calibration_table(frame, 3.0, 1.0)
    assert [cell[:5] for cell in table.rows[0][1:]] == [f"{ece[name]:.3f}" for name in versions]


def test_what_an_older_audit_did_not_measure_is_left_open() -> None:
    measured = {"metric": "ece", "value": 0.1, "low": 0.0, "high": 0.2}
    frame = pd.DataFrame([measured | {"version": version} for version in ("before", "after")])
    table = calibration_table(frame, 3.0, 1.0)
    assert table.rows[0][1:] == ("0.100 (0.000\N{EN DASH}0.200)", "\N{EN DASH}", "\N{EN DASH}")
