"""Augmentation of whole batches: one resampling and one colour matrix an image.

Every image draws its own rotation, flip, zoom, stretch and shift, which are one affine map
and so one bilinear sampling; and its own brightness, contrast, saturation, hue and colour
cast, which with the normalisation are one affine map of RGB. Noise may be added, and a patch
may be cut out [1]_.

References
----------
.. [1] T. DeVries, G. W. Taylor: Improved Regularization of Convolutional Neural Networks with
       Cutout. 2017, arXiv:1708.04552.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from doctor_derma.models.colour import MEAN, STD
from doctor_derma.training.config import TrainConfig

_LUMINANCE = (0.299, 0.587, 0.114)
# The largest deviation of added noise, as a share of the range of a pixel.
_MOST_NOISE = 0.15


def normalise(pixels: Tensor) -> Tensor:
    """Turn uint8 (n, H, W, 3) into normalised float32 (n, 3, H, W), channels last in memory."""
    mean = torch.tensor(MEAN, device=pixels.device) * 255
    std = torch.tensor(STD, device=pixels.device) * 255
    return ((pixels - mean) / std).permute(0, 3, 1, 2)


def augment(pixels: Tensor, size: int, config: TrainConfig, aspect_ratio: float = 1.0) -> Tensor:
    """Draw an augmented, normalised version of every image.

    Parameters
    ----------
    pixels : uint8 of shape (n, H, W, 3)
    size : side of the result
    config : the strengths ``rotation``, ``zoom``, ``aspect`` and ``colour``, and the shares of
        images with ``noise`` and ``cutout``
    aspect_ratio : width over height that the pictures had before they were made square

    Returns
    -------
    float32 of shape (n, 3, size, size), channels last in memory
    """
    count = len(pixels)
    planes = pixels.permute(0, 3, 1, 2).float()
    grid = sampling_grid(random_affine(count, config, aspect_ratio).to(pixels.device), size)
    warped = functional.grid_sample(
        planes, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    matrix, offset = random_colour(count, config)
    recoloured = torch.baddbmm(
        offset.to(pixels.device), matrix.to(pixels.device), warped.flatten(2)
    ).view_as(warped)
    noisy = torch.rand(count).less(config.noise).nonzero().flatten().to(pixels.device)
    recoloured[noisy] += random_noise(len(noisy), size).to(pixels.device)
    cut = torch.rand(count).less(config.cutout).nonzero().flatten().to(pixels.device)
    recoloured[cut] *= random_patches(len(cut), size).to(pixels.device)
    return recoloured.contiguous(memory_format=torch.channels_last)


def random_affine(count: int, config: TrainConfig, aspect_ratio: float = 1.0) -> Tensor:
    """Draw maps from output to input coordinates in [-1, 1], shape (count, 2, 3).

    The rotation is that of the picture in its own shape, so that a round lesion in a wide
    picture, an ellipse in the square one, stays that ellipse at every angle.
    """
    angle = _uniform(count, -config.rotation, config.rotation) * (math.pi / 180)
    zoom = config.zoom ** -_uniform(count, 0, 1)
    stretch = config.aspect ** _uniform(count, -0.5, 0.5)
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    across, down = zoom * stretch * flip, zoom / stretch
    # The part of the picture that the zoom leaves out is where the window can move.
    shift_x, shift_y = _uniform(count, -1, 1) * (1 - zoom), _uniform(count, -1, 1) * (1 - zoom)
    rows = [
        *(cos * across, -sin * down / aspect_ratio, shift_x),
        *(sin * across * aspect_ratio, cos * down, shift_y),
    ]
    return torch.stack(rows, dim=1).view(count, 2, 3)


def sampling_grid(maps: Tensor, size: int) -> Tensor:
    """Return where a square output samples its input, shape (count, size, size, 2).

    The same as ``torch.nn.functional.affine_grid`` with ``align_corners=False``, which takes
    several times as long on a processor, since it multiplies matrices of two columns.

    Parameters
    ----------
    maps : from output to input coordinates in [-1, 1], shape (count, 2, 3)
    size : side of the output
    """
    centres = (torch.arange(size, device=maps.device) * 2 + 1) / size - 1
    along, down, shift = maps[:, None, :, 0], maps[:, None, :, 1], maps[:, None, :, 2]
    rows = down * centres[:, None] + shift
    columns = along * centres[:, None]
    return rows[:, :, None] + columns[:, None]


def random_colour(count: int, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Draw colour changes and fold the normalisation in.

    Returns
    -------
    matrix of shape (count, 3, 3) and offset of shape (count, 3, 1): a pixel with RGB values
    x in 0 to 255 becomes ``matrix @ x + offset``
    """
    strength = config.colour
    grey = torch.tensor(_LUMINANCE).expand(3, 3)
    saturation = _uniform(count, 1 - strength, 1 + strength).view(-1, 1, 1)
    matrix = torch.lerp(grey, torch.eye(3), saturation) @ _hue_rotation(count, strength * 0.25)
    gain = _uniform(count, 1 - strength, 1 + strength).view(-1, 1, 1)
    cast = _uniform(count * 3, 1 - strength / 4, 1 + strength / 4).view(count, 3, 1)
    brightness = _uniform(count, -strength / 2, strength / 2).view(-1, 1, 1)
    mean, std = torch.tensor(MEAN).view(3, 1), torch.tensor(STD).view(3, 1)
    matrix = gain * cast * matrix / (255 * std)
    offset = (mean * (1 - gain) + brightness - mean) / std
    return matrix, offset.expand(count, 3, 1)


def random_noise(count: int, size: int) -> Tensor:
    """Draw Gaussian noise for normalised images, shape (count, 3, size, size).

    Its deviation differs between images, up to 38 of 255 grey levels.
    """
    deviation = _uniform(count, 0, _MOST_NOISE).view(-1, 1, 1, 1)
    return torch.randn(count, 3, size, size) * deviation / torch.tensor(STD).view(3, 1, 1)


def random_patches(count: int, size: int) -> Tensor:
    """Draw masks of shape (count, 1, size, size): 0 in the patch cut out, 1 elsewhere."""
    side = _uniform(count, 0.1, 0.35) * size
    places = torch.arange(size)
    inside = [
        (places - (torch.rand(count) * size)[:, None]).abs() < side[:, None] / 2 for _ in "yx"
    ]
    return 1.0 - (inside[0][:, None, :, None] & inside[1][:, None, None, :]).float()


def _hue_rotation(count: int, turns: float) -> Tensor:
    """Draw rotations about the grey axis by up to ``turns`` radians, shape (count, 3, 3)."""
    angle = _uniform(count, -turns, turns).view(-1, 1, 1)
    axis = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -axis, axis], [axis, 0, -axis], [-axis, axis, 0]])
    return torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)


def _uniform(count: int, low: float, high: float) -> Tensor:
    return torch.empty(count).uniform_(low, high)
