"""Is a picture light, dark or sharp, in numbers that the picture's content moves little."""

from dataclasses import dataclass

import numpy as np

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
