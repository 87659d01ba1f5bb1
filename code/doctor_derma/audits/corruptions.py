"""Ways in which a picture gets worse, each at five severities.

In the manner of D. Hendrycks and T. Dietterich, Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations, ICLR 2019, with what dermatoscopy meets. Lengths are
shares of the picture's shorter side, so that a severity means the same at any size; only
JPEG works on blocks of 8 pixels, which are coarser in a small picture.
"""

import io
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFilter

from doctor_derma.data.synthetic.lesions import draw_lesion
from doctor_derma.data.synthetic.scenes import Skin, photograph
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.plots.style import INK, new_figure, write_title

# uint8 RGB (height, width, 3), severity 1 to 5, random numbers -> the same shape and type.
Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

SEVERITIES = (1, 2, 3, 4, 5)
TITLES = {
    "jpeg": "JPEG compression",
    "blur": "Gaussian blur",
    "noise": "Gaussian noise",
    "darker": "Darker",
    "brighter": "Brighter",
    "warm": "Warm colour cast",
    "cool": "Cool colour cast",
    "hair": "Hairs",
    "ruler": "Ruler",
    "rotation": "Rotation",
    "all": "Mean of all",
}
_JPEG_QUALITY = (50, 30, 18, 10, 5)
_BLUR_SIGMA = (0.004, 0.008, 0.014, 0.022, 0.032)  # Shares of the shorter side.
_NOISE_SIGMA = (8, 16, 26, 40, 60)  # Grey levels.
_NOISE_GRAINS = 150  # Along the shorter side.
_DARKER_STOPS = (0.5, 1.0, 1.5, 2.25, 3.0)
_BRIGHTER_STOPS = (0.2, 0.4, 0.7, 1.0, 1.4)  # What gets lighter than white is lost.
_GAMMA = 2.2  # Of the stored values; light is their power of it.
# What red or blue loses, and green by half, as in shade (cool) or lamplight (warm).
_CAST = (0.08, 0.15, 0.23, 0.32, 0.42)
_ANGLES = (10, 20, 40, 65, 90)  # Degrees.
_HAIRS = (4, 9, 16, 28, 45)
# A terminal hair is about 0.1 mm across, the shorter side of a picture about 1 cm.
_HAIR_WIDTH = (0.006, 0.014)
_HAIR_LENGTH = (0.35, 1.1)
_HAIR_POINTS = 24
_HAIR_COLOUR = (40, 28, 22)
_TICKS_OF_SHORTER_SIDE = 20
_LONG_TICK_EVERY = 5
_TICK_LENGTH = (0.06, 0.09, 0.13, 0.18, 0.24)
_TICK_WIDTH = (0.006, 0.007, 0.008, 0.010, 0.012)
_INK_COLOUR = (15, 15, 20)
_OPACITY = 0.9
# Hairs and rulers are drawn on a layer at least this long and scaled down, for smooth edges.
_LAYER_PIXELS = 1200


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


def _jpeg(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=_JPEG_QUALITY[severity - 1])
    return np.array(Image.open(encoded))


def _blur(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
    sigma = _BLUR_SIGMA[severity - 1] * min(pixels.shape[:2])
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def _noise(pixels: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    # Finer grain would vanish when a large picture is scaled to the size a network takes.
    coarseness = max(1, min(height, width) // _NOISE_GRAINS)
    grid = (math.ceil(height / coarseness), math.ceil(width / coarseness), 3)
    grain = generator.standard_normal(grid, dtype=np.float32)
    grain = grain.repeat(coarseness, axis=0).repeat(coarseness, axis=1)[:height, :width]
    return _as_pixels(pixels + _NOISE_SIGMA[severity - 1] * grain)


def _scaled(gains: Sequence[tuple[float, float, float]]) -> Corruption:
    """Return what multiplies red, green and blue by what ``gains`` has for a severity."""

    def scale(pixels: np.ndarray, severity: int, _: np.random.Generator) -> np.ndarray:
        return _as_pixels(pixels * np.array(gains[severity - 1], dtype=np.float32))

    return scale


def _exposed(stops: Iterable[float]) -> Corruption:
    return _scaled([(2 ** (of / _GAMMA),) * 3 for of in stops])


def _hair(pixels: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """Lay curved dark hairs over the picture, each severity those below and more."""
    shape = pixels.shape[:2]
    layer, scale = _new_layer(shape)
    pen, shorter = ImageDraw.Draw(layer), min(shape)
    steps = np.linspace(0, 1, _HAIR_POINTS)[:, None]
    along = generator.uniform(0, np.pi)
    for _ in range(_HAIRS[severity - 1]):
        heading = along + generator.normal(0, 0.5) + generator.normal(0, 0.9) * steps
        middle = generator.uniform((0, 0), shape[::-1])
        length = generator.uniform(*_HAIR_LENGTH) * shorter
        strides = np.hstack([np.cos(heading), np.sin(heading)]) * length / _HAIR_POINTS
        path = np.cumsum(strides, axis=0)
        points = (path - path.mean(axis=0) + middle) * scale
        width = max(1, round(generator.uniform(*_HAIR_WIDTH) * shorter * scale))
        pen.line([tuple(point) for point in points], fill=255, width=width, joint="curve")
    return _overlay(pixels, layer, _HAIR_COLOUR)


def _ruler(pixels: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    height, width = shape = pixels.shape[:2]
    layer, scale = _new_layer(shape)
    pen, shorter = ImageDraw.Draw(layer), min(shape)
    edge = str(generator.choice(["top", "bottom", "left", "right"]))
    flat = edge in ("top", "bottom")
    pitch = shorter / _TICKS_OF_SHORTER_SIDE
    offset = generator.uniform(0, pitch)
    edge_length, depth = (width, height) if flat else (height, width)
    stroke = max(1, round(_TICK_WIDTH[severity - 1] * shorter * scale))
    for number, place in enumerate(np.arange(offset, edge_length, pitch)):
        reach = _TICK_LENGTH[severity - 1] * shorter * (0.5 if number % _LONG_TICK_EVERY else 1)
        ends = (0, reach) if edge in ("top", "left") else (depth, depth - reach)
        points = [(place, end) if flat else (end, place) for end in ends]
        pen.line([(x * scale, y * scale) for x, y in points], fill=255, width=stroke)
    return _overlay(pixels, layer, _INK_COLOUR)


def _rotation(pixels: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """Turn the picture either way; mirror images fill the corners."""
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
    "jpeg": _jpeg,
    "blur": _blur,
    "noise": _noise,
    "darker": _exposed(-stops for stops in _DARKER_STOPS),
    "brighter": _exposed(_BRIGHTER_STOPS),
    "warm": _scaled([(1, 1 - cast / 2, 1 - cast) for cast in _CAST]),
    "cool": _scaled([(1 - cast, 1 - cast / 2, 1) for cast in _CAST]),
    "hair": _hair,
    "ruler": _ruler,
    "rotation": _rotation,
}


def plot_corruptions(image: np.ndarray) -> Figure:
    """Draw a picture, uint8 RGB (height, width, 3), under every corruption and severity."""
    severities = (0, *SEVERITIES)
    height, width = image.shape[:2]
    figure = new_figure(
        1.5 * len(severities) + 0.5, (1.5 * height / width + 0.06) * len(CORRUPTIONS) + 0.6
    )
    grid = figure.subplots(len(CORRUPTIONS), len(severities), squeeze=False)
    for row, name in zip(grid, CORRUPTIONS, strict=True):
        for axes, severity in zip(row, severities, strict=True):
            axes.imshow(corrupt(name, image, severity, "example"))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(TITLES[name].replace(" ", "\n", 1), color=INK, fontsize=9)
    for axes, severity in zip(grid[0], severities, strict=True):
        axes.set_title(f"severity {severity}" if severity else "clean", fontsize=9, color=INK)
    write_title(figure, "What the severities look like")
    return figure


def example_picture(size: tuple[int, int]) -> np.ndarray:
    """Draw a synthetic melanoma on hairless skin, of (width, height); uint8 (height, width, 3)."""
    generator = np.random.default_rng(5)
    lesion = draw_lesion("mel", generator)
    return np.array(photograph(lesion, Skin(0.12, 0.2, hairs=0), size, generator))


def _new_layer(shape: tuple[int, int]) -> tuple[Image.Image, int]:
    """Return an empty layer and how many times larger than the picture it is."""
    scale = max(1, math.ceil(_LAYER_PIXELS / max(shape)))
    return Image.new("L", (shape[1] * scale, shape[0] * scale)), scale


def _overlay(pixels: np.ndarray, layer: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Paint a picture in one colour where a layer is white."""
    small = layer.resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BOX)
    share = _OPACITY * (np.asarray(small, dtype=np.float32) / 255)[..., None]
    return _as_pixels(pixels * (1 - share) + np.array(colour, dtype=np.float32) * share)


def _as_pixels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
