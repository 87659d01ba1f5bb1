"""Activation maps moved by parts of a cell."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from doctor_derma.inference.alignment import align_maps

MAP = np.array([[0.0, 4.0, 8.0], [2.0, 2.0, 2.0]], dtype=np.float32)


def test_no_shift_changes_nothing() -> None:
    np.testing.assert_array_equal(align_maps(MAP, (0, 0)), MAP)


def test_shifts_by_hand() -> None:
    np.testing.assert_allclose(align_maps(MAP, (0, 0.5)), [[2, 6, 8], [2, 2, 2]])
    np.testing.assert_allclose(align_maps(MAP, (1, 0)), [[2, 2, 2], [2, 2, 2]])
    np.testing.assert_allclose(align_maps(MAP, (-0.25, 0)), [[0, 4, 8], [1.5, 2.5, 3.5]])


@given(rows=st.floats(-1, 1), columns=st.floats(-1, 1))
def test_range_shape_and_type_stay(rows: float, columns: float) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    moved = align_maps(maps, (rows, columns))
    assert moved.shape == maps.shape
    assert moved.dtype == np.float32
    assert moved.min() >= maps.min() - 1e-6
    assert moved.max() <= maps.max() + 1e-6
