"""Where in the picture a cell of an activation map looks.

A convolution of stride 2 and kernel 3 that pads every side by 1 centres its outputs on the even
pixels, not between them. Over the five halvings of a residual network this adds up to about half
a cell of the last map: what is drawn at a cell's own place belongs half a cell up and left.
"""

import numpy as np
import torch

from doctor_derma.models.networks import LesionNetwork
from doctor_derma.training.augmentation import normalise

_CELLS = 16


def measure_map_shift(network: LesionNetwork, pixels: np.ndarray) -> tuple[float, float]:
    r"""Measure how far cells look up and left of their own place, in cells.

    The place a cell looks at is the centroid of its squared gradient over the pixels, its
    effective receptive field (Luo et al. [1]_). The pictures are repeated to so many cells that
    the field of the middle one ends before the edge.

    Parameters
    ----------
    network : in evaluation mode
    pixels : a few pictures, uint8 of shape (n, height, width, 3)

    Returns
    -------
    shift of rows and of columns; 0 for a network whose cells look where they lie

    References
    ----------
    .. [1] W. Luo, Y. Li, R. Urtasun, R. Zemel: Understanding the Effective Receptive Field in
           Deep Convolutional Neural Networks. NeurIPS 2016, arXiv:1701.04128.
    """
    with torch.no_grad():
        maps = network.logits_maps_and_features(normalise(torch.from_numpy(pixels[:1])))[1]
    cells = np.array(maps.shape[2:])
    repeats = -(-_CELLS // cells)
    tiled = np.tile(pixels, (1, *repeats, 1))
    images = normalise(torch.from_numpy(tiled)).requires_grad_()
    maps = network.logits_maps_and_features(images)[1]
    row, column = maps.shape[2] // 2, maps.shape[3] // 2
    # Squares differ between classes and pictures, so each is a sample of the same field.
    (gradient,) = torch.autograd.grad(maps[:, :, row, column].square().sum(), images)
    field = gradient.square().sum((0, 1)).double()
    return (
        _shift(field.sum(1), row, maps.shape[2]),
        _shift(field.sum(0), column, maps.shape[3]),
    )


def _shift(weights: torch.Tensor, cell: int, cells: int) -> float:
    """Return by how many cells the centroid of pixel weights lies before a cell's centre."""
    if not float(weights.sum()) > 0:
        return 0.0
    places = torch.arange(len(weights), dtype=torch.float64) + 0.5
    centroid = float((weights * places).sum() / weights.sum())
    return cell + 0.5 - centroid * cells / len(weights)
