"""Near-identical pictures: the same exposure, encoded or scaled anew.

Two pictures count as near-identical when the root mean square (RMS) difference of their
16x16 RGB thumbnails is below ``NEAR_RMS``. The threshold was read off the 10,015 pictures
of HAM10000 at 200x150: a copy at half the size and JPEG quality 50 differs by at most 3.5
grey levels (at quality 75, or merely scaled, by at most 2.2), while the two most alike
pictures of different lesions differ by 4.9, and the next by 6.4.
"""

import numpy as np
from PIL import Image

THUMBNAIL_SIZE = 16
NEAR_RMS = 3.5
_DISTANCES_AT_ONCE = 2**24


def thumbnail(picture: Image.Image) -> np.ndarray:
    """Return the mean colours of a 16x16 grid, uint8 of shape (16, 16, 3).

    The grid is stretched over the whole picture, so the size in pixels doesn't matter.
    """
    small = picture.resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8)


def near_identical_pairs(thumbnails: np.ndarray, threshold: float = NEAR_RMS) -> np.ndarray:
    """Find every pair of thumbnails that differ by less than ``threshold``.

    All pairs are compared, as |a - b|^2 = |a|^2 + |b|^2 - 2ab with one matrix product for
    a block of rows: quadratic, yet seconds for ten thousand pictures.

    Parameters
    ----------
    thumbnails : uint8 array of shape (n, 16, 16, 3)
    threshold : RMS difference in grey levels (0 to 255)

    Returns
    -------
    int array of shape (pairs, 2), each row i < j, in rising order
    """
    count = len(thumbnails)
    if count < 2:
        return np.empty((0, 2), dtype=np.intp)
    rows = thumbnails.reshape(count, -1).astype(np.float32)
    rows -= 128  # Smaller numbers leave the difference of squares more exact.
    squares = np.einsum("ij,ij->i", rows, rows)
    limit = threshold**2 * rows.shape[1]
    block = max(1, _DISTANCES_AT_ONCE // count)
    found = []
    for start in range(0, count, block):
        stop = min(start + block, count)
        products = rows[start:stop] @ rows[start:].T
        distances = squares[start:stop, None] + squares[None, start:] - 2 * products
        first, second = np.nonzero(distances < limit)
        later = second > first
        found.append(np.stack([first[later], second[later]], axis=1) + start)
    return np.concatenate(found)
