"""What a camera and a file do to a picture: blur, noise, JPEG.

All take images of shape (n, 3, H, W) in [0, 1] and draw for each its own strength.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from doctor_derma.training.draws import uniform

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
    deviation = (
        (uniform(len(images), 0, 1).square() * _MOST_NOISE).view(-1, 1, 1, 1).to(images.device)
    )
    return images + deviation * torch.randn_like(images)


def compress(images: Tensor) -> Tensor:
    """Do to each image what JPEG of a quality from 5 to 90 does, without subsampling colours."""
    count, _, height, width = images.shape
    below, beside = -height % _BLOCK, -width % _BLOCK
    padded = functional.pad(images.clamp(0, 1) * 255, (0, beside, 0, below), mode="replicate")
    rotation, back = (part.to(images.device) for part in _rotations())
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
