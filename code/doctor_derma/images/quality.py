"""Is a picture light, dark or sharp, in numbers that the picture's content moves little.

The prediction of a poor picture is worth less; it comes with warnings.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from doctor_derma.bundle import BundleInfo

QualityWarning = Literal["dark", "bright", "blurred", "small"]
# Rec. 601 luma, the usual grey of RGB.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class PictureQuality:
    """Two numbers of a picture at the size that a network sees.

    Attributes
    ----------
    luminance : mean luma, 0 for black to 1 for white
    sharpness : variance of the Laplacian of the luma in 0 to 255; low where a picture is
        blurred (Pech-Pacheco et al. [1]_)

    References
    ----------
    .. [1] J. L. Pech-Pacheco, G. Cristobal, J. Chamorro-Martinez, J. Fernandez-Valdivia:
           Diatom autofocusing in brightfield microscopy: a comparative study. ICPR 2000.
    """

    luminance: float
    sharpness: float


def measure_quality(pixels: np.ndarray) -> PictureQuality:
    """Measure a picture, uint8 RGB of shape (height, width, 3), both sides 3 or more."""
    luma = pixels.astype(np.float32) @ _LUMA
    centre = luma[1:-1, 1:-1]
    beside = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return PictureQuality(float(luma.mean() / 255), float((beside - 4 * centre).var()))


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
