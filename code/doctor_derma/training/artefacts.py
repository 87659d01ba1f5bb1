"""What real pictures have on them, and what a camera and a file do to a picture.

Hairs, rulers, gel bubbles and dark borders lie over a lesion; blur, noise and JPEG change all of
the picture. All functions take images of shape (n, 3, H, W) in [0, 1] and draw for each its own.
Lengths are shares of the shorter side. Numbers are drawn on the processor, so that a seed means the
same anywhere.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

_HAIRS = 40
_HAIR_POINTS = 256
_BUBBLES = 8
_MOST_BLUR = 0.03  # The deviation of a Gaussian, as a share of the shorter side.
_MOST_NOISE = 0.22  # The deviation, as a share of the range of a pixel.
_BLOCK = 8
# The tables of Annex K of the JPEG standard (ITU-T T.81), for luminance and chrominance.
_LUMINANCE_TABLE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE_TABLE = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


def uniform(count: int, low: float, high: float) -> Tensor:
    """Draw float32 numbers between two limits, shape (count,)."""
    return torch.empty(count).uniform_(low, high)


def chosen(count: int, share: float) -> Tensor:
    """Choose each of ``count`` images with the probability ``share``: their places, int64."""
    return torch.rand(count).less(share).nonzero().flatten()


def lay_hairs(images: Tensor) -> Tensor:
    """Lay 1 to 40 curved hairs over each image, dark, brown or grey, one or two pixels wide."""
    count, _, height, width = images.shape
    device = images.device
    # A hair is a stroke with one bend: the middle of a quadratic Bezier curve off its chord.
    along = torch.linspace(-1, 1, _HAIR_POINTS, device=device)
    shape = (count, _HAIRS, 1)
    heading = uniform(count, 0, 2 * torch.pi).view(-1, 1, 1) + 0.6 * torch.randn(shape)
    length = uniform(count * _HAIRS, 0.15, 0.6).view(shape) * min(height, width)
    bend = torch.randn(shape) * 0.35
    middle_x, middle_y = torch.rand(shape) * width, torch.rand(shape) * height
    heading, length, bend, middle_x, middle_y = (
        part.to(device) for part in (heading, length, bend, middle_x, middle_y)
    )
    forward, sideways = along * length, bend * (1 - along.square()) * length
    x = middle_x + heading.cos() * forward - heading.sin() * sideways
    y = middle_y + heading.sin() * forward + heading.cos() * sideways
    hairs = torch.randint(1, _HAIRS + 1, (count, 1)).to(device)
    drawn = (torch.arange(_HAIRS, device=device) < hairs)[:, :, None]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & drawn
    cells = (y.clamp(0, height - 1).long() * width + x.clamp(0, width - 1).long()).flatten(1)
    cover = torch.zeros(count, height * width, device=device)
    cover.scatter_reduce_(1, cells, inside.flatten(1).float(), "amax")
    cover = cover.view(count, 1, height, width)
    # Smoothed to the width of a hair: a thin one is one pixel and its neighbours' edges.
    thin = functional.avg_pool2d(cover, 3, 1, 1) * 1.5 + cover * 0.4
    thick = functional.avg_pool2d(functional.max_pool2d(cover, 3, 1, 1), 3, 1, 1)
    cover = torch.lerp(thin, thick, _draw(images, 0, 1)).clamp(0, 1)
    opacity = _draw(images, 0.4, 1)
    brown = torch.tensor([0.16, 0.11, 0.09], device=device).view(1, 3, 1, 1)
    return torch.lerp(images, (brown * _draw(images, 0.2, 3.5)).expand_as(images), opacity * cover)


def lay_ruler(images: Tensor) -> Tensor:
    """Lay the marks of a ruler along one edge of each image, every fifth or tenth longer."""
    count, _, height, width = images.shape
    shorter = min(height, width)
    pitch, offset = _draw(images, 0.03, 0.12) * shorter, _draw(images, 0, 1)
    stroke, reach = _draw(images, 0.006, 0.014) * shorter, _draw(images, 0.03, 0.13) * shorter
    slope = _draw(images, -0.1, 0.1)
    edge = _of_each(torch.randint(0, 4, (count,)), images)
    every = _of_each(torch.where(torch.rand(count) < 0.5, 5, 10), images)
    rows, columns = (places + 0.5 for places in _places(images))
    depth = torch.where(
        edge < 2,
        torch.where(edge == 0, rows, height - rows),
        torch.where(edge == 2, columns, width - columns),
    )
    marks = (torch.where(edge < 2, columns, rows) + slope * depth) / pitch + offset
    number = marks.round()
    beside = (marks - number).abs() * pitch
    long = (number.remainder(every) == 0).float() + 1
    cover = (stroke / 2 + 0.5 - beside).clamp(0, 1) * (reach * long - depth).clamp(0, 1)
    return images * (1 - _draw(images, 0.5, 1) * cover)


def lay_bubbles(images: Tensor) -> Tensor:
    """Lay 1 to 8 bubbles of gel over each image: bright rings with a lighter inside."""
    count, _, height, width = images.shape
    device = images.device
    shape = (count, _BUBBLES, 1, 1)
    radius = (0.01 * 15 ** torch.rand(shape) * min(height, width)).to(device)
    there = (torch.arange(_BUBBLES) < torch.randint(1, _BUBBLES + 1, (count, 1))).float()
    across, down = (torch.rand(shape) * side for side in (width, height))
    distance = _distance(images, down.to(device), across.to(device))
    ring = torch.exp(-((distance - radius) / (0.12 * radius + 0.6)).square())
    light = there.view(shape).to(device) * (ring + 0.25 * (radius - distance).clamp(0, 1))
    glow = (_draw(images, 0.1, 0.6) * light.amax(1, keepdim=True)).clamp(0, 1)
    return images + (1 - images) * glow


def shade_borders(images: Tensor) -> Tensor:
    """Darken the borders of each image softly, or cut its corners off as a dermatoscope's tube."""
    half = min(images.shape[2:]) / 2
    down, across = (side / 2 + _draw(images, -0.15, 0.15) * half for side in images.shape[2:])
    distance = _distance(images, down, across) / half
    strength, start = _draw(images, 0.1, 0.6), _draw(images, 0.3, 1.0)
    tube, edge = _draw(images, 0.95, 1.6), _draw(images, 0.01, 0.15)
    soft = 1 - strength * ((distance - start).clamp(min=0) / 1.3).clamp(max=1)
    hard = ((tube - distance) / edge + 0.5).clamp(0, 1)
    has_tube = _of_each(torch.rand(len(images)) < 0.5, images)
    return images * torch.where(has_tube, hard * (1 - 0.3 * (1 - soft)), soft)


def blur(images: Tensor) -> Tensor:
    """Blur each image by a Gaussian with a deviation of up to 3% of the shorter side."""
    count, _, *sides = images.shape
    sigma = uniform(count, 0, 1).square() * _MOST_BLUR * min(sides) + 0.2
    sigma = sigma.view(-1, 1, 1).to(images.device)
    # A blur along rows or columns is a matrix product: every image has a matrix of its own.
    down, across = (_smoothing(side, sigma)[:, None] for side in sides)
    return down @ images @ across.mT


def add_noise(images: Tensor) -> Tensor:
    """Add Gaussian noise with a deviation of up to 56 of 255 grey levels, fine or coarse."""
    deviation = _draw(images, 0, 1).square() * _MOST_NOISE
    return images + deviation * torch.randn_like(images, device="cpu").to(images.device)


def compress(images: Tensor) -> Tensor:
    """Do to each image what JPEG of a quality from 5 to 90 does, without subsampling colours."""
    count, _, height, width = images.shape
    below, beside = -height % _BLOCK, -width % _BLOCK
    padded = functional.pad(images.clamp(0, 1) * 255, (0, beside, 0, below), mode="replicate")
    rotation, back = (matrix.to(images.device) for matrix in _rotations())
    colours = torch.einsum("kc,nchw->nkhw", rotation, padded)
    colours[:, 0] -= 128
    cosines = _cosines().to(images.device)
    blocks = colours.unflatten(3, (-1, _BLOCK)).unflatten(2, (-1, _BLOCK))  # n k Y y X x
    frequencies = torch.einsum("uy,nkaybx,vx->nkaubv", cosines, blocks, cosines)
    tables = _tables(5 * 18 ** uniform(count, 0, 1)).to(images.device)[:, :, None, :, None]
    quantised = (frequencies / tables).round() * tables
    blocks = torch.einsum("uy,nkaubv,vx->nkaybx", cosines, quantised, cosines)
    colours = blocks.flatten(4, 5).flatten(2, 3)
    colours[:, 0] += 128
    restored = torch.einsum("ck,nkhw->nchw", back, colours)
    return restored[:, :, :height, :width].clamp(0, 255) / 255


def _of_each(values: Tensor, images: Tensor) -> Tensor:
    """Return a number an image, (n,), as (n, 1, 1, 1) where the images are."""
    return values.view(-1, 1, 1, 1).to(images.device)


def _draw(images: Tensor, low: float, high: float) -> Tensor:
    return _of_each(uniform(len(images), low, high), images)


def _places(images: Tensor) -> list[Tensor]:
    """Return the row and the column of each pixel, (height, 1) and (1, width)."""
    rows, columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
    return [rows[:, None], columns[None]]


def _distance(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    rows, columns = _places(images)
    return ((rows - down).square() + (columns - across).square()).sqrt()


@functools.cache
def _rotations() -> tuple[Tensor, Tensor]:
    rotation = torch.tensor(_YCBCR)
    return rotation, rotation.inverse()


@functools.cache
def _cosines() -> Tensor:
    """Return the orthonormal discrete cosine transform of 8 values, shape (8, 8)."""
    places = torch.arange(_BLOCK) + 0.5
    matrix = torch.cos(torch.arange(_BLOCK)[:, None] * places * math.pi / _BLOCK)
    matrix[0] /= math.sqrt(2)
    return matrix * math.sqrt(2 / _BLOCK)


def _smoothing(side: int, sigma: Tensor) -> Tensor:
    """Return matrices (n, side, side) that average each place with its neighbours."""
    places = torch.arange(side, device=sigma.device)
    weights = torch.exp(-0.5 * ((places[:, None] - places) / sigma).square())
    return weights / weights.sum(2, keepdim=True)


def _tables(quality: Tensor) -> Tensor:
    """Return quantization tables for qualities (n,), shape (n, 3, 8, 8), scaled as libjpeg does."""
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).view(-1, 1, 1, 1)
    tables = torch.tensor([_LUMINANCE_TABLE, _CHROMINANCE_TABLE, _CHROMINANCE_TABLE])
    return (tables.view(1, 3, _BLOCK, _BLOCK) * scale).round().clamp(1, 255)
