"""Means over groups come with intervals over lesions."""

import numpy as np
import pytest

from doctor_derma.audits.groups import group_means, interval_of
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import Interval


def test_means_by_hand_and_nan_for_an_empty_group() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [6.0, 60.0]])
    groups = [
        ({"class": "all"}, np.array([True, True, True])),
        ({"class": "mel"}, np.array([True, True, False])),
        ({"class": "nv"}, np.array([False, False, False])),
    ]
    columns = [{"measure": "one"}, {"measure": "ten"}]
    lesions = np.array(["a", "b", "b"])
    frame = group_means(values, columns, groups, lesions, 120, seed=0)
    found = frame.set_index(["class", "measure"])
    assert found.loc[("all", "ten"), ["images", "lesions", "value"]].tolist() == [3, 2, 30]
    assert found.loc["mel", "value"].tolist() == [1.5, 15]
    assert interval_of(found.loc[("mel", "one")]) == Interval(1.5, 1, 2)
    assert found.loc["nv", ["images", "lesions"]].to_numpy().tolist() == [[0, 0], [0, 0]]
    assert found.loc["nv", ["value", "low", "high"]].isna().to_numpy().all()


def test_lesions_are_drawn_and_not_pictures() -> None:
    values = np.repeat([0.0, 1.0], 30)[:, None]
    everything = [({"class": "all"}, np.ones(60, dtype=bool))]
    by_lesion = group_means(values, [{}], everything, np.repeat(["a", "b"], 30), 200, seed=0)
    assert by_lesion[["low", "high"]].iloc[0].tolist() == [0, 1]
    by_picture = group_means(values, [{}], everything, np.arange(60).astype(str), 200, seed=0)
    low, high = by_picture[["low", "high"]].iloc[0]
    assert 0.3 < low < 0.5 < high < 0.7


def test_no_resamples_are_refused() -> None:
    with pytest.raises(DermaError, match="resamples: 0 is too few"):
        group_means(np.ones((1, 1)), [{}], [({}, np.ones(1, dtype=bool))], np.array(["a"]), 0, 0)


def test_the_limits_of_another_value() -> None:
    row = {"value": 1.0, "drop": 0.2, "drop_low": 0.1, "drop_high": 0.3}
    assert interval_of(row, "drop") == Interval(0.2, 0.1, 0.3)
