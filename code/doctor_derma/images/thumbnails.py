"""A picture as a few colours, by which near-identical pictures are found.

Two pictures count as near-identical when the root mean square (RMS) difference of their
16x16 RGB thumbnails is below ``NEAR_RMS``. The threshold was read off the 10,015 pictures
of HAM10000 at 200x150: a copy at half the size and JPEG quality 50 differs by at most 3.5
grey levels (at quality 75, or merely scaled, by at most 2.2), while the two most alike
pictures of different lesions differ by 4.9, and the next by 6.4.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

THUMBNAIL_SIZE = 16
NEAR_RMS = 3.5


def thumbnail(picture: Image.Image) -> np.ndarray:
    """Return the mean colours of a 16x16 grid, uint8 of shape (16, 16, 3).

    The grid is stretched over the whole picture, so the size in pixels doesn't matter.
    """
    small = picture.resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8)


def near_identical_pairs(
    thumbnails: Sequence[np.ndarray] | np.ndarray, threshold: float = NEAR_RMS, block: int = 2048
) -> np.ndarray:
    """Find every pair of thumbnails that differ by less than ``threshold``.

    All pairs are compared, as |a - b|^2 = |a|^2 + |b|^2 - 2ab with one matrix product for
    two blocks of rows: quadratic, yet seconds for ten thousand pictures and minutes for a hundred
    thousand, in the memory of a few blocks.

    Parameters
    ----------
    thumbnails : n uint8 arrays of shape (16, 16, 3), in one array or not
    threshold : RMS difference in grey levels (0 to 255)
    block : thumbnails that are compared with as many others at once

    Returns
    -------
    int array of shape (pairs, 2), each row i < j, in rising order
    """
    found = [np.empty((0, 2), dtype=np.intp)]
    limit = threshold**2 * np.asarray(thumbnails[:1]).size
    for start in range(0, len(thumbnails), block):
        rows, squares = centred_rows(thumbnails[start : start + block])
        for other in range(start, len(thumbnails), block):
            columns, others = centred_rows(thumbnails[other : other + block])
            distances = squares[:, None] + others - 2 * rows @ columns.T
            pairs = np.argwhere(distances < limit) + np.array([start, other])
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def centred_rows(thumbnails: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return n thumbnails as rows from -128 to 127, float32 (n, 768), and each sum of squares."""
    # Smaller numbers leave the difference of squares more exact.
    rows = np.asarray(thumbnails).reshape(len(thumbnails), -1).astype(np.float32) - 128
    return rows, np.einsum("ij,ij->i", rows, rows)
