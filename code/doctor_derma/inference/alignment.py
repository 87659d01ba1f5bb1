"""Activation maps drawn where their evidence lies."""

from collections.abc import Sequence

import numpy as np


def align_maps(
    maps: np.ndarray, shift: Sequence[float], scale: Sequence[float] = (1, 1)
) -> np.ndarray:
    """Move maps to where their cells look, linearly between cells, edges repeated.

    The cells of what is returned tile the picture.

    Parameters
    ----------
    maps : float [..., h, w]
    shift : of rows and of columns, in cells, as the bundle's ``map_shift``
    scale : share of the rows' and the columns' length that the picture takes, as its
        ``map_scale``

    Returns
    -------
    The same shape and dtype

    Examples
    --------
    >>> import numpy as np
    >>> align_maps(np.array([[0.0, 4.0]]), shift=(0, 0.5))
    array([[2., 4.]])
    """
    for axis in (0, 1):
        maps = _moved(maps, shift[axis], scale[axis], axis - 2)
    return maps


def _moved(maps: np.ndarray, cells: float, scale: float, axis: int) -> np.ndarray:
    length = maps.shape[axis]
    looked_at = (np.arange(length) + 0.5) * scale - 0.5 + cells
    places = np.clip(looked_at, 0, length - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, length - 1)
    shape = [1] * maps.ndim
    shape[axis] = length
    share = (places - before).astype(maps.dtype).reshape(shape)
    return maps.take(before, axis) * (1 - share) + maps.take(after, axis) * share
