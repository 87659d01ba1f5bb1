"""Ways in which a picture gets worse, each at five severities.

In the manner of D. Hendrycks and T. Dietterich, Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations, ICLR 2019, with what dermatoscopy meets. Lengths are
shares of the picture's shorter side, so that a severity means the same at any size; only
JPEG works on blocks of 8 pixels, which are coarser in a small picture.
"""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from doctor_derma.audits.overlays import hair_cover, ruler_cover
from doctor_derma.errors import DermaError

# uint8 RGB (height, width, 3), severity 1 to 5, random numbers -> the same shape and type.
Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

SEVERITIES = (1, 2, 3, 4, 5)
_JPEG_QUALITY = (50, 30, 18, 10, 5)
_BLUR_SIGMA = (0.004, 0.008, 0.014, 0.022, 0.032)  # Shares of the shorter side.
_NOISE_SIGMA = (8, 16, 26, 40, 60)  # Grey levels.
_NOISE_GRAINS = 150  # Along the shorter side.
_DARKER_STOPS = (0.5, 1.0, 1.5, 2.25, 3.0)
_BRIGHTER_STOPS = (0.2, 0.4, 0.7, 1.0, 1.4)
_GAMMA = 2.2  # Of the stored values; light is their power of it.
_CAST = (0.08, 0.15, 0.23, 0.32, 0.42)  # What red or blue loses.
_ANGLES = (10, 20, 40, 65, 90)  # Degrees.
_HAIR_COLOUR = (40, 28, 22)
_INK_COLOUR = (15, 15, 20)
_OPACITY = 0.9


def corrupt(name: str, pixels: np.ndarray, severity: int, image: str) -> np.ndarray:
    """Corrupt one picture, with the random numbers that belong to it.

    They depend on ``name`` and ``image`` alone: the same picture always gets the same
    hairs, and a higher severity of noise is the same noise amplified.

    Parameters
    ----------
    name : a key of ``CORRUPTIONS``
    pixels : uint8 RGB (height, width, 3), of any size
    severity : 1 to 5, or 0 for the picture unchanged
    image : name of the picture

    Returns
    -------
    uint8 (height, width, 3)

    Raises
    ------
    DermaError
        When the corruption or the severity is unknown.
    """
    if name not in CORRUPTIONS:
        raise DermaError(f"corruption '{name}': unknown; use one of {', '.join(CORRUPTIONS)}")
    if severity not in (0, *SEVERITIES):
        raise DermaError(f"severity {severity}: unknown; use 1 to 5, or 0 for no corruption")
    if severity == 0:
        return pixels
    generator = np.random.default_rng([*f"{name}:{image}".encode()])
    return CORRUPTIONS[name](pixels, severity, generator)


def jpeg(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Encode as JPEG of quality 50 to 5 and decode."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=_JPEG_QUALITY[severity - 1])
    return np.array(Image.open(encoded))


def blur(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian whose deviation is 0.4 to 3.2% of the shorter side."""
    sigma = _BLUR_SIGMA[severity - 1] * min(pixels.shape[:2])
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def noise(pixels: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise with a deviation of 8 to 60 grey levels.

    Large pictures get coarse grain, 150 to the shorter side, as finer grain would vanish
    when the picture is scaled to the size a network takes.
    """
    height, width = pixels.shape[:2]
    coarseness = max(1, min(height, width) // _NOISE_GRAINS)
    grid = (math.ceil(height / coarseness), math.ceil(width / coarseness), 3)
    grain = generator.standard_normal(grid, dtype=np.float32)
    grain = grain.repeat(coarseness, axis=0).repeat(coarseness, axis=1)[:height, :width]
    return _as_pixels(pixels + _NOISE_SIGMA[severity - 1] * grain)


def darker(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Underexpose by 0.5 to 3 stops."""
    return _expose(pixels, -_DARKER_STOPS[severity - 1])


def brighter(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Overexpose by 0.2 to 1.4 stops; what gets lighter than white is lost."""
    return _expose(pixels, _BRIGHTER_STOPS[severity - 1])


def warm(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Take 8 to 42% of the blue and half that share of the green away, as in lamplight."""
    cast = _CAST[severity - 1]
    return _scale(pixels, (1, 1 - cast / 2, 1 - cast))


def cool(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    """Take 8 to 42% of the red and half that share of the green away, as in shade."""
    cast = _CAST[severity - 1]
    return _scale(pixels, (1 - cast, 1 - cast / 2, 1))


def hair(pixels: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """Lay 4 to 45 curved dark hairs over the picture."""
    return _overlay(pixels, hair_cover(pixels.shape[:2], severity, generator), _HAIR_COLOUR)


def ruler(pixels: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """Lay a ruler's marks along one edge, reaching 6 to 24% of the shorter side inwards."""
    return _overlay(pixels, ruler_cover(pixels.shape[:2], severity, generator), _INK_COLOUR)


def rotation(pixels: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """Turn the picture by 10 to 90 degrees either way; mirror images fill the corners."""
    angle = _ANGLES[severity - 1] * int(generator.choice([-1, 1]))
    height, width = pixels.shape[:2]
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    # How far the turned frame reaches beyond the picture, and a pixel to interpolate from.
    above = max(0, math.ceil((height * cos + width * sin - height) / 2)) + 1
    beside = max(0, math.ceil((width * cos + height * sin - width) / 2)) + 1
    padded = np.pad(pixels, ((above, above), (beside, beside), (0, 0)), mode="symmetric")
    turned = Image.fromarray(padded).rotate(angle, Image.Resampling.BILINEAR)
    return np.array(turned)[above : above + height, beside : beside + width]


CORRUPTIONS: dict[str, Corruption] = {
    "jpeg": jpeg,
    "blur": blur,
    "noise": noise,
    "darker": darker,
    "brighter": brighter,
    "warm": warm,
    "cool": cool,
    "hair": hair,
    "ruler": ruler,
    "rotation": rotation,
}


def _expose(pixels: np.ndarray, stops: float) -> np.ndarray:
    gain = 2 ** (stops / _GAMMA)
    return _scale(pixels, (gain, gain, gain))


def _scale(pixels: np.ndarray, gains: tuple[float, float, float]) -> np.ndarray:
    return _as_pixels(pixels * np.array(gains, dtype=np.float32))


def _overlay(pixels: np.ndarray, cover: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    share = _OPACITY * cover[..., None]
    return _as_pixels(pixels * (1 - share) + np.array(colour, dtype=np.float32) * share)


def _as_pixels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
