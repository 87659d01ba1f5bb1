"""Warnings of a poor picture, whose prediction is worth less."""

from typing import Literal

import numpy as np

from doctor_derma.bundle import BundleInfo
from doctor_derma.images.quality import measure_quality

QualityWarning = Literal["dark", "bright", "blurred", "small"]


def quality_warnings(
    pixels: np.ndarray, size: tuple[int, int], info: BundleInfo
) -> tuple[QualityWarning, ...]:
    """Compare a picture with what nearly all training images are.

    Parameters
    ----------
    pixels : the picture at the network's size, uint8 of shape (height, width, 3)
    size : width and height it came with; smaller than the network's is ``small``
    """
    found = measure_quality(pixels)
    limits = info.quality
    warnings: dict[QualityWarning, bool] = {
        "dark": found.luminance < limits.darkest,
        "bright": found.luminance > limits.brightest,
        "blurred": found.sharpness < limits.blurriest,
        "small": size[0] < info.input.width or size[1] < info.input.height,
    }
    return tuple(name for name, present in warnings.items() if present)
