"""Means over groups come with intervals over lesions."""

import numpy as np
import pytest

from doctor_derma.audits.group_means import group_means
from doctor_derma.errors import DermaError


def test_means_by_hand_and_nan_for_an_empty_group() -> None:
    figures = np.array([[1.0, 10.0], [2.0, 20.0], [6.0, 60.0]])
    members = np.array([[True, True, True], [True, True, False], [False, False, False]])
    means = group_means(figures, members, np.array(["a", "b", "c"]), 120, seed=0)
    assert means.value[:2] == pytest.approx(np.array([[3, 30], [1.5, 15]]))
    assert means.low[1].tolist() == [1, 10]
    assert means.high[1].tolist() == [2, 20]
    for limits in (means.value, means.low, means.high):
        assert np.isnan(limits[2]).all()


def test_lesions_are_drawn_and_not_pictures() -> None:
    figures = np.repeat([0.0, 1.0], 30)[:, None]
    everything = np.ones((1, 60), dtype=bool)
    by_lesion = group_means(figures, everything, np.repeat(["a", "b"], 30), 200, seed=0)
    assert (by_lesion.low[0, 0], by_lesion.high[0, 0]) == (0, 1)
    by_picture = group_means(figures, everything, np.arange(60).astype(str), 200, seed=0)
    assert 0.3 < by_picture.low[0, 0] < 0.5 < by_picture.high[0, 0] < 0.7


def test_no_resamples_are_refused() -> None:
    with pytest.raises(DermaError, match="resamples: 0 is too few"):
        group_means(np.ones((1, 1)), np.ones((1, 1), dtype=bool), np.array(["a"]), 0, seed=0)
