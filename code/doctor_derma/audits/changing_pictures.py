"""Pictures that turn into others step by step, for deletion and insertion."""

import numpy as np
from PIL import Image, ImageFilter

STEPS = 16
SHARES = np.linspace(0, 1, STEPS + 1)
FRAME_SHARE = 0.1
BLUR_SHARE = 0.1


def changing_pictures(start: np.ndarray, end: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Turn one picture into another, the pixels with most evidence first.

    Equal evidence goes in reading order.

    Parameters
    ----------
    start, end : uint8 [height, width, 3]
    evidence : float [height, width]

    Returns
    -------
    uint8 [STEPS + 1, height, width, 3], from ``start`` to ``end``
    """
    rank = np.empty(evidence.size, dtype=np.int64)
    rank[np.argsort(-evidence, axis=None, kind="stable")] = np.arange(evidence.size)
    changed = rank < np.round(SHARES * evidence.size)[:, None]
    return np.where(changed.reshape(-1, *evidence.shape, 1), end, start)


def skin_picture(picture: np.ndarray) -> np.ndarray:
    """Return a picture [height, width, 3] of one colour, the median of the outer frame."""
    height, width = picture.shape[:2]
    frame = np.ones((height, width), dtype=bool)
    down, across = (max(1, round(FRAME_SHARE * side)) for side in (height, width))
    frame[down : height - down, across : width - across] = False
    return np.broadcast_to(np.median(picture[frame], axis=0).astype(np.uint8), picture.shape)


def blurred_picture(picture: np.ndarray) -> np.ndarray:
    """Blur a picture by a Gaussian with a standard deviation of a tenth of the longer side."""
    radius = BLUR_SHARE * max(picture.shape[:2])
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))
