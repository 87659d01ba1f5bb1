"""Activation maps drawn where their evidence lies."""

from collections.abc import Sequence

import numpy as np


def align_maps(maps: np.ndarray, shift: Sequence[float]) -> np.ndarray:
    """Move maps up and left by parts of a cell, linearly between cells, edges repeated.

    Parameters
    ----------
    maps : float [..., h, w]
    shift : of rows and of columns, in cells, as the bundle's ``map_shift``

    Returns
    -------
    The same shape and dtype
    """
    for axis, cells in ((-2, shift[0]), (-1, shift[1])):
        maps = _moved(maps, cells, axis)
    return maps


def _moved(maps: np.ndarray, cells: float, axis: int) -> np.ndarray:
    length = maps.shape[axis]
    places = np.clip(np.arange(length) + cells, 0, length - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, length - 1)
    shape = [1] * maps.ndim
    shape[axis] = length
    share = (places - before).astype(maps.dtype).reshape(shape)
    return maps.take(before, axis) * (1 - share) + maps.take(after, axis) * share
