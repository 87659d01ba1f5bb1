"""A picture as a few colours, by which near-identical pictures are found."""

import numpy as np
from PIL import Image

THUMBNAIL_SIZE = 16


def thumbnail(picture: Image.Image) -> np.ndarray:
    """Return the mean colours of a 16x16 grid, uint8 of shape (16, 16, 3).

    The grid is stretched over the whole picture, so the size in pixels doesn't matter.
    """
    small = picture.resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.uint8)
