"""Where in the picture a cell of an activation map looks.

A convolution of stride 2 and kernel 3 that pads every side by 1 centres its outputs on the even
pixels, not between them. Over the five halvings of a residual network this adds up to about half
a cell of the last map: what is drawn at a cell's own place belongs half a cell up and left.

Nor do cells always tile the picture. 144 rows are four and a half of 32 pixels: a map of five
rows reaches beyond them.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from doctor_derma.models.networks import LesionNetwork
from doctor_derma.models.preprocessing import scale_pixels

# Pictures are made larger to about so many cells, and by a multiple of so many pixels.
_CELLS = 16
_PIXELS = 128


class MapPlaces(NamedTuple):
    """Where the cells of a map look, for rows and for columns; see `align_maps`.

    Attributes
    ----------
    shift : how far before their own place, in cells
    scale : share of the length of all cells that the picture takes; 1 where they tile it
    """

    shift: tuple[float, float]
    scale: tuple[float, float]


def measure_map_places(network: LesionNetwork, pixels: np.ndarray) -> MapPlaces:
    r"""Measure where the cells of a network's maps look in the picture.

    The place a cell looks at is the centroid of its squared gradient over the pixels, its
    effective receptive field (Luo et al. [1]_). Pictures are repeated until the field of the
    middle cell ends before the edge, and to a length that leaves as many pixels over at every
    halving as the picture's own, since some networks pad by what is left.

    Parameters
    ----------
    network : in evaluation mode
    pixels : a few pictures, uint8 of shape (n, height, width, 3)

    References
    ----------
    .. [1] W. Luo, Y. Li, R. Urtasun, R. Zemel: Understanding the Effective Receptive Field in
           Deep Convolutional Neural Networks. NeurIPS 2016, arXiv:1701.04128.
    """
    with torch.no_grad():
        one = network.logits_maps_and_features(scale_pixels(torch.from_numpy(pixels[:1])))[1]
    cells, sides = one.shape[2:], pixels.shape[1:3]
    longer = [
        side + _PIXELS * math.ceil(_CELLS * side / count / _PIXELS)
        for side, count in zip(sides, cells, strict=True)
    ]
    repeats = [-(-side // own) for side, own in zip(longer, sides, strict=True)]
    repeated = np.tile(pixels, (1, *repeats, 1))[:, : longer[0], : longer[1]]
    images = scale_pixels(torch.from_numpy(repeated)).requires_grad_()
    maps = network.logits_maps_and_features(images)[1]
    more = maps.shape[2:]
    # Squares differ between classes and pictures, so each is a sample of the same field.
    seen = maps[:, :, more[0] // 2, more[1] // 2].square().sum()
    (gradient,) = torch.autograd.grad(seen, images)
    field = gradient.square().sum((0, 1)).double()
    down, across = (
        _along(field.sum(1 - axis), sides[axis], cells[axis], more[axis]) for axis in (0, 1)
    )
    return MapPlaces(shift=(down[0], across[0]), scale=(down[1], across[1]))


def _along(weights: torch.Tensor, side: int, cells: int, more: int) -> tuple[float, float]:
    """Return shift and scale along a side of so many pixels and cells.

    ``weights`` are what the middle one of ``more`` cells sees of each pixel of the longer picture.
    """
    if more == cells or not float(weights.sum()) > 0:
        return 0.0, 1.0
    stride = (len(weights) - side) / (more - cells)
    places = torch.arange(len(weights), dtype=torch.float64) + 0.5
    centroid = float((weights * places).sum() / weights.sum())
    return more // 2 + 0.5 - centroid / stride, side / (cells * stride)
