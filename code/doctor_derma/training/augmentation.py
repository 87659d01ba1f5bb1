"""Augmentation of whole batches, on the device where the batch lies.

Every image draws its own rotation, flip, zoom, stretch and shift, which are one affine map and so
one bilinear sampling, and its own colours, which are one affine map of RGB and one power. Some get
what lies over a lesion and what a camera does to a picture (``training/artefacts.py``), and a
patch may be cut out [1]_.

References
----------
.. [1] T. DeVries, G. W. Taylor: Improved Regularization of Convolutional Neural Networks with
       Cutout. 2017, arXiv:1708.04552.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from doctor_derma.models.preprocessing import IMAGENET_MEAN, scale_pixels
from doctor_derma.training.artefacts import (
    add_noise,
    blur,
    chosen,
    compress,
    lay_bubbles,
    lay_hairs,
    lay_ruler,
    shade_borders,
    uniform,
)
from doctor_derma.training.config import TrainConfig

_LUMINANCE = (0.299, 0.587, 0.114)


def augment(
    pixels: Tensor, size: tuple[int, int], config: TrainConfig, aspect_ratio: float = 1.0
) -> Tensor:
    """Draw an augmented version of every image.

    Parameters
    ----------
    pixels : uint8 of shape (n, H, W, 3)
    size : height and width of the result
    config : the strengths ``rotation``, ``zoom``, ``zoom_out``, ``aspect``, ``colour``, ``cast``
        and ``gamma``, and the shares of images with ``vignette``, ``hair``, ``ruler``,
        ``bubbles``, ``blur``, ``noise``, ``jpeg`` and ``cutout``
    aspect_ratio : width over height that the pictures had before they were stretched to one size

    Returns
    -------
    float32 of shape (n, 3, *size) in [0, 1], channels last in memory
    """
    # Under mixed precision, products of matrices would round pixels to bfloat16.
    with torch.autocast(pixels.device.type, enabled=False):
        maps = random_affine(len(pixels), config, aspect_ratio).to(pixels.device)
        grid = sampling_grid(maps, size)
        images = functional.grid_sample(
            scale_pixels(pixels), grid, padding_mode="reflection", align_corners=False
        )
        images = _change_some(images, config.hair, lay_hairs)
        images = _change_some(images, config.ruler, lay_ruler)
        images = _change_some(images, config.bubbles, lay_bubbles)
        images = _change_some(images, config.vignette, shade_borders)
        images = _change_some(images, config.blur, blur)
        images = _recolour(images, config)
        images = _change_some(images, config.noise, add_noise)
        images = _change_some(images, config.jpeg, compress)
        images = _change_some(images, config.cutout, _cut_out)
        return images.clamp(0, 1).contiguous(memory_format=torch.channels_last)


def random_affine(count: int, config: TrainConfig, aspect_ratio: float = 1.0) -> Tensor:
    """Draw maps from output to input coordinates in [-1, 1], shape (count, 2, 3).

    A picture is turned in its own shape, so that a round lesion stays round at every angle.
    """
    angle = uniform(count, -config.rotation, config.rotation) * (math.pi / 180)
    zoom = torch.exp(-uniform(count, math.log(config.zoom_out), math.log(config.zoom)))
    stretch = config.aspect ** uniform(count, -0.5, 0.5)
    flip = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    across, down = zoom * stretch * flip, zoom / stretch
    # The part of the picture that the zoom leaves out is where the window can move; further out
    # than the whole picture, it is the picture that moves in the window.
    room = (1 - zoom).abs()
    shift_x, shift_y = uniform(count, -1, 1) * room, uniform(count, -1, 1) * room
    rows = [
        *(cos * across, -sin * down / aspect_ratio, shift_x),
        *(sin * across * aspect_ratio, cos * down, shift_y),
    ]
    return torch.stack(rows, dim=1).view(count, 2, 3)


def sampling_grid(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return where an output of a size samples its input, shape (count, height, width, 2).

    Does as ``affine_grid`` with ``align_corners=False`` for ``maps`` (count, 2, 3) of
    `random_affine`. That takes several times as long on a processor, since it multiplies matrices
    of two columns.
    """
    down_centres, along_centres = (
        (torch.arange(side, device=maps.device) * 2 + 1) / side - 1 for side in size
    )
    along, down, shift = maps[:, None, :, 0], maps[:, None, :, 1], maps[:, None, :, 2]
    rows = down * down_centres[:, None] + shift
    columns = along * along_centres[:, None]
    return rows[:, :, None] + columns[:, None]


def random_colour(count: int, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Draw changes of saturation, hue, mixing of channels, light and contrast.

    Returns
    -------
    matrix of shape (count, 3, 3) and offset of shape (count, 3, 1): a pixel x in [0, 1] becomes
    ``matrix @ x + offset``
    """
    strength = config.colour
    cast = strength / 4 if config.cast is None else config.cast
    grey = torch.tensor(_LUMINANCE).expand(3, 3)
    saturation = uniform(count, 1 - strength, 1 + strength).view(-1, 1, 1)
    matrix = torch.lerp(grey, torch.eye(3), saturation) @ _hue_rotation(count, strength * 0.25)
    # Sensors see each other's colours: a little of each channel in the others, lightness kept.
    mixing = uniform(count * 9, -cast / 4, cast / 4).view(count, 3, 3)
    matrix = (torch.eye(3) + mixing - mixing.mean(2, keepdim=True)) @ matrix
    light = (1 + cast) ** uniform(count * 3, -1, 1).view(count, 3, 1)
    gain = uniform(count, 1 - strength, 1 + strength).view(-1, 1, 1)
    brightness = uniform(count, -strength / 2, strength / 2).view(-1, 1, 1)
    mean = torch.tensor(IMAGENET_MEAN).view(3, 1)
    return gain * light * matrix, (mean * (1 - gain) + brightness).expand(count, 3, 1)


def random_patches(count: int, size: tuple[int, int]) -> Tensor:
    """Draw masks of shape (count, 1, height, width): 0 in the patch cut out, 1 elsewhere."""
    side = uniform(count, 0.1, 0.35) * (size[0] * size[1]) ** 0.5
    inside = [
        (torch.arange(length) - (torch.rand(count) * length)[:, None]).abs() < side[:, None] / 2
        for length in size
    ]
    return 1.0 - (inside[0][:, None, :, None] & inside[1][:, None, None, :]).float()


def _recolour(images: Tensor, config: TrainConfig) -> Tensor:
    matrix, offset = (part.to(images.device) for part in random_colour(len(images), config))
    recoloured = torch.baddbmm(offset, matrix, images.flatten(2)).view(images.shape)
    if config.gamma == 1:
        return recoloured
    gamma = config.gamma ** uniform(len(images), -1, 1)
    # Not of 0, where the slope of a power is infinite.
    return recoloured.clamp(1e-3, 1) ** gamma.view(-1, 1, 1, 1).to(images.device)


def _cut_out(images: Tensor) -> Tensor:
    count, _, height, width = images.shape
    mask = random_patches(count, (height, width)).to(images.device)
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    return mean + (images - mean) * mask


def _change_some(images: Tensor, share: float, change: Callable[[Tensor], Tensor]) -> Tensor:
    rows = chosen(len(images), share).to(images.device)
    return images.index_copy(0, rows, change(images[rows])) if len(rows) else images


def _hue_rotation(count: int, turns: float) -> Tensor:
    """Draw rotations about the grey axis by up to ``turns`` radians, shape (count, 3, 3)."""
    angle = uniform(count, -turns, turns).view(-1, 1, 1)
    axis = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -axis, axis], [axis, 0, -axis], [-axis, axis, 0]])
    return torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)
