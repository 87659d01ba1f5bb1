"""What lies over a lesion in real pictures, drawn as covers: hairs and a ruler."""

import math

import numpy as np
from PIL import Image, ImageDraw

# Covers are drawn on a layer at least this long and then scaled down, for smooth edges.
_LAYER_PIXELS = 1200
_HAIRS = (4, 9, 16, 28, 45)
# A terminal hair is about 0.1 mm across, the shorter side of a picture about 1 cm.
_HAIR_WIDTH = (0.006, 0.014)
_HAIR_LENGTH = (0.35, 1.1)
_HAIR_POINTS = 24
_TICKS_OF_SHORTER_SIDE = 20
_LONG_TICK_EVERY = 5
_TICK_LENGTH = (0.06, 0.09, 0.13, 0.18, 0.24)
_TICK_WIDTH = (0.006, 0.007, 0.008, 0.010, 0.012)
_EDGES = ("top", "bottom", "left", "right")


def hair_cover(shape: tuple[int, int], severity: int, generator: np.random.Generator) -> np.ndarray:
    """Draw curved strokes, each severity those of the one below and more.

    Parameters
    ----------
    shape : (height, width) of the picture in pixels
    severity : 1 to 5, from 4 to 45 hairs, 0.6 to 1.4% of the shorter side wide

    Returns
    -------
    float32 (height, width), the share of each pixel that hair covers, 0 to 1
    """
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
        width = _stroke(generator.uniform(*_HAIR_WIDTH) * shorter * scale)
        pen.line([tuple(point) for point in points], fill=255, width=width, joint="curve")
    return _cover(layer, shape)


def ruler_cover(
    shape: tuple[int, int], severity: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw tick marks along one edge, every fifth twice as long.

    Parameters
    ----------
    shape : (height, width) of the picture in pixels
    severity : 1 to 5, long ticks from 6 to 24% of the shorter side

    Returns
    -------
    float32 (height, width), the share of each pixel that the ruler covers, 0 to 1
    """
    layer, scale = _new_layer(shape)
    pen, shorter = ImageDraw.Draw(layer), min(shape)
    edge = str(generator.choice(_EDGES))
    pitch = shorter / _TICKS_OF_SHORTER_SIDE
    offset = generator.uniform(0, pitch)
    height, width = shape
    edge_length, depth = (width, height) if edge in ("top", "bottom") else (height, width)
    stroke = _stroke(_TICK_WIDTH[severity - 1] * shorter * scale)
    for number, place in enumerate(np.arange(offset, edge_length, pitch)):
        long = number % _LONG_TICK_EVERY == 0
        reach = _TICK_LENGTH[severity - 1] * shorter * (1 if long else 0.5)
        ends = (0, reach) if edge in ("top", "left") else (depth, depth - reach)
        points = [(place, end) if edge in ("top", "bottom") else (end, place) for end in ends]
        pen.line([(x * scale, y * scale) for x, y in points], fill=255, width=stroke)
    return _cover(layer, shape)


def _new_layer(shape: tuple[int, int]) -> tuple[Image.Image, int]:
    """Return an empty layer and how many times larger than the picture it is."""
    scale = max(1, math.ceil(_LAYER_PIXELS / max(shape)))
    height, width = shape
    return Image.new("L", (width * scale, height * scale)), scale


def _stroke(width: float) -> int:
    return max(1, round(width))


def _cover(layer: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    small = layer.resize(shape[::-1], Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255
