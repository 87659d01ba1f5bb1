"""Shapes and textures that synthetic lesions are painted with, all on one square canvas."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CANVAS = 256
EXTENT = 1.6  # The canvas reaches from -EXTENT to EXTENT lesion radii.
AXIS = np.linspace(-EXTENT, EXTENT, CANVAS, dtype=np.float32)
U, V = np.meshgrid(AXIS, AXIS)


@dataclass(frozen=True)
class Outline:
    """``depth`` is 1 at the centre, 0 on the border, negative outside."""

    depth: np.ndarray

    def inside(self, softness: float) -> np.ndarray:
        """Return 1 inside and 0 outside; ``softness`` is the border's width in radii."""
        return 1 / (1 + np.exp(np.clip(-self.depth / softness, -30, 30)))


def draw_outline(generator: np.random.Generator, ragged: float, longest: float) -> Outline:
    """Draw a closed border.

    Parameters
    ----------
    ragged : deviation of the border from an ellipse, in radii
    longest : the most that the longer axis may be of the shorter
    """
    turn, stretch = generator.uniform(0, np.pi), np.sqrt(generator.uniform(1, longest))
    along = (U * np.cos(turn) + V * np.sin(turn)) / stretch
    across = (V * np.cos(turn) - U * np.sin(turn)) * stretch
    angles = np.linspace(-np.pi, np.pi, 361)
    radii = np.ones_like(angles)
    for wave in range(2, 9):
        size = ragged * generator.normal() / wave**0.7
        radii += size * np.cos(wave * angles + generator.uniform(0, 2 * np.pi))
    radius = np.interp(np.arctan2(across, along), angles, radii.clip(0.5, 1.4))
    return Outline((1 - np.hypot(along, across) / radius).astype(np.float32))


def noise(generator: np.random.Generator, cells: int) -> np.ndarray:
    """Return smooth noise of mean 0 and deviation 1 with about ``cells`` bumps a side."""
    grid = Image.fromarray(generator.standard_normal((cells, cells)).astype(np.float32))
    smooth = np.asarray(grid.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC))
    return (smooth - smooth.mean()) / smooth.std()


def _lattice(generator: np.random.Generator, pitch: float) -> np.ndarray:
    """Return three plane waves at 60 degrees, bent by noise: a honeycomb, -1.5 to 3."""
    bend = 0.45 * pitch
    u, v = U + bend * noise(generator, 9), V + bend * noise(generator, 9)
    start = generator.uniform(0, np.pi)
    waves = [
        np.cos(2 * np.pi / pitch * (u * np.cos(start + turn) + v * np.sin(start + turn)))
        for turn in (0, np.pi / 3, 2 * np.pi / 3)
    ]
    return np.sum(waves, axis=0)


def network(generator: np.random.Generator, pitch: float) -> np.ndarray:
    """Return the lines of a honeycomb whose holes are ``pitch`` radii apart, 0 to 1."""
    return np.clip((0.4 - _lattice(generator, pitch)) / 1.2, 0, 1)


def globules(generator: np.random.Generator, pitch: float) -> np.ndarray:
    """Return dots where a honeycomb has its holes, 0 to 1."""
    return np.clip((_lattice(generator, pitch) - 0.8) / 1.2, 0, 1)


def spots(
    generator: np.random.Generator,
    count: tuple[int, int],
    radius: tuple[float, float],
    distance: tuple[float, float],
) -> np.ndarray:
    """Return soft discs, 1 in the middle, overlaps up to 1.5.

    Parameters
    ----------
    count : the least, and one over the most
    radius, distance : least and most, in lesion radii; distance is from the centre
    """
    total = np.zeros_like(U)
    for _ in range(generator.integers(*count)):
        size, turn = generator.uniform(*radius), generator.uniform(0, 2 * np.pi)
        away = np.sqrt(generator.uniform(distance[0] ** 2, distance[1] ** 2))
        across = (AXIS - np.float32(away * np.cos(turn))) / np.float32(size)
        down = (AXIS - np.float32(away * np.sin(turn))) / np.float32(size)
        columns, rows = np.flatnonzero(abs(across) < 2), np.flatnonzero(abs(down) < 2)
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        total[box] += np.exp(-((across[columns] ** 2 + down[rows, None] ** 2) ** 2))
    return total.clip(0, 1.5)


def vessels(generator: np.random.Generator, trunks: tuple[int, int]) -> np.ndarray:
    """Return branching lines that grow inwards from the border, 0 to 1.

    Parameters
    ----------
    trunks : the fewest, and one over the most
    """
    layer = Image.new("L", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(layer)
    for _ in range(generator.integers(*trunks)):
        turn = generator.uniform(0, 2 * np.pi)
        start = CANVAS / 2 * (1 + 0.6 * np.array([np.cos(turn), np.sin(turn)]))
        branches = [(start, turn + np.pi + generator.normal(0, 0.4), 4)]
        while branches:
            point, heading, width = branches.pop()
            for _ in range(generator.integers(5, 9)):
                heading += generator.normal(0, 0.3)
                following = point + 8 * np.array([np.cos(heading), np.sin(heading)])
                pen.line([tuple(point), tuple(following)], fill=255, width=width)
                point = following
            if width > 1:
                branches += [(point, heading + side, width - 1) for side in (-0.6, 0.6)]
    blurred = layer.filter(ImageFilter.GaussianBlur(1.2))
    return np.asarray(blurred, dtype=np.float32) / 255
