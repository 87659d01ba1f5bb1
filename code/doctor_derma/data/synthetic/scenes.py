"""Synthetic dermatoscopic pictures: a lesion on skin, seen through a lens, with hairs."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from doctor_derma.data.synthetic.lesions import Chromophores
from doctor_derma.data.synthetic.patterns import CANVAS, EXTENT

# Optical density of one unit in red, green and blue.
_MELANIN = np.array([0.55, 1.0, 1.35], dtype=np.float32)
_DEEP = np.array([1.25, 1.0, 0.7], dtype=np.float32)
_BLOOD = np.array([0.2, 1.15, 0.95], dtype=np.float32)
_KERATIN = np.array([0.93, 0.87, 0.8], dtype=np.float32)


@dataclass(frozen=True)
class Skin:
    """A patient's skin: optical densities of melanin and blood, and how hairy it is."""

    melanin: float
    blood: float
    hairs: float

    @classmethod
    def draw(cls, generator: np.random.Generator) -> "Skin":
        """Draw mostly fair skin, as in HAM10000, and some brown."""
        return cls(
            melanin=float(0.04 + 0.75 * generator.beta(0.8, 3.5)),
            blood=float(generator.uniform(0.1, 0.35)),
            hairs=float(generator.exponential(4.0) * (generator.random() < 0.5)),
        )


def photograph(
    lesion: Chromophores, skin: Skin, size: tuple[int, int], generator: np.random.Generator
) -> Image.Image:
    """Take one picture of a lesion, each time from another angle, distance and light.

    Parameters
    ----------
    size : (width, height) in pixels
    """
    view = _view(size, generator)
    melanin, deep, blood, keratin = (_seen(amount, size, view) for amount in lesion)
    mottling = sum(0.022 * _grain(size, cells, generator) for cells in (8, 24, 90))
    density = (
        (melanin + skin.melanin + mottling)[..., None] * _MELANIN
        + deep[..., None] * _DEEP
        + (blood + skin.blood + mottling)[..., None] * _BLOOD
    )
    reflected = 0.97 * np.exp(-density)
    share = keratin.clip(0, 0.9)[..., None]
    reflected = (1 - share) * reflected + share * _KERATIN
    reflected *= 1 - 0.75 * _hairs(size, skin, generator)[..., None]
    pixels = 255 * reflected * _light(size, generator)
    pixels += generator.normal(0, 1.5, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _view(size: tuple[int, int], generator: np.random.Generator) -> tuple[float, ...]:
    """Return PIL's affine coefficients from picture to canvas: turned, scaled, shifted."""
    width, height = size
    radius = height * generator.uniform(0.19, 0.36)
    scale = CANVAS / (2 * EXTENT) / radius
    turn = generator.uniform(0, 2 * np.pi)
    mirror = generator.choice([-1, 1])
    x0 = width * (0.5 + generator.normal(0, 0.04))
    y0 = height * (0.5 + generator.normal(0, 0.04))
    a, b = scale * np.cos(turn), -scale * np.sin(turn) * mirror
    d, e = scale * np.sin(turn), scale * np.cos(turn) * mirror
    middle = CANVAS / 2
    return (a, b, middle - a * x0 - b * y0, d, e, middle - d * x0 - e * y0)


def _seen(amount: np.ndarray, size: tuple[int, int], view: tuple[float, ...]) -> np.ndarray:
    canvas = Image.fromarray(amount.astype(np.float32))
    seen = canvas.transform(size, Image.Transform.AFFINE, view, Image.Resampling.BILINEAR)
    return np.asarray(seen)


def _grain(size: tuple[int, int], cells: int, generator: np.random.Generator) -> np.ndarray:
    width, height = size
    shape = (max(2, cells * height // width), cells)
    grid = Image.fromarray(generator.standard_normal(shape).astype(np.float32))
    return np.asarray(grid.resize(size, Image.Resampling.BICUBIC))


def _hairs(size: tuple[int, int], skin: Skin, generator: np.random.Generator) -> np.ndarray:
    """Return how much of each pixel hairs cover, 0 to 1: bent strokes, drawn thrice as large."""
    width, height = (3 * side for side in size)
    layer = Image.new("L", (width, height))
    pen = ImageDraw.Draw(layer)
    along = generator.uniform(0, np.pi)
    for _ in range(generator.poisson(skin.hairs)):
        turn = along + generator.normal(0, 0.5)
        start = generator.uniform((0, 0), (width, height))
        length, bend = generator.uniform(0.2, 0.6) * width, generator.normal(0, 0.8)
        steps = np.linspace(0, 1, 12)[:, None]
        headings = turn + bend * steps
        strides = np.hstack([np.cos(headings), np.sin(headings)]) * length / len(steps)
        points = start + np.cumsum(strides, axis=0)
        stroke = int(generator.integers(2, 5))
        pen.line([tuple(point) for point in points], fill=255, width=stroke, joint="curve")
    small = layer.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(small, dtype=np.float32) / 255


def _light(size: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return the light on each pixel and channel: tint, slope and the lens's dark corners."""
    width, height = size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    tint = generator.normal(generator.normal(1.0, 0.06), 0.035, 3).astype(np.float32)
    slope = 1 + 0.05 * (generator.normal() * x + generator.normal() * y)
    from_centre = np.hypot(x * width / height, y)
    corners = 1 - 0.12 * from_centre**2 / 2
    if generator.random() < 0.3:
        corners = corners / (1 + np.exp((from_centre - generator.uniform(1.2, 1.5)) / 0.03))
    return (slope * corners)[..., None] * tint
