"""From pixels to what a network sees: in [0, 1], the light's colour taken out, normalised."""

import torch
from torch import Tensor, nn

# ImageNet's mean and standard deviation in RGB: what a backbone is given unless its own
# pretrained weights say otherwise.
Rgb = tuple[float, float, float]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_POWER = 6  # The best of Finlayson and Trezzi on their pictures.
_DARKEST = 1e-3  # So that a black picture is not divided by zero.


def scale_pixels(pixels: Tensor) -> Tensor:
    """Turn uint8 (n, H, W, 3) into float32 (n, 3, H, W) in [0, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255


class ShadesOfGray(nn.Module):
    r"""Colour constancy of images in [0, 1], as the first layer of a network.

    The light's colour is estimated as the Minkowski mean of each channel over the picture [1]_,

    .. math:: e_c = \Big(\frac{1}{HW} \sum_{i,j} x_{c,i,j}^p\Big)^{1/p}

    and every channel is divided by its :math:`e_c`, times their mean, which keeps the brightness.
    p = 1 is the gray-world assumption, p to infinity that the brightest spot is white.

    References
    ----------
    .. [1] G. D. Finlayson, E. Trezzi: Shades of Gray and Colour Constancy. Color and Imaging
           Conference 2004.

    Examples
    --------
    >>> import torch
    >>> blue = torch.tensor([0.2, 0.2, 0.8]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    >>> [round(value, 3) for value in ShadesOfGray()(blue)[0, :, 0, 0].tolist()]
    [0.4, 0.4, 0.4]
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return images of the same shape, (n, channels, H, W)."""
        pixels = images.clamp(min=0)
        light = pixels.pow(_POWER).mean((2, 3), keepdim=True).pow(1 / _POWER).clamp(min=_DARKEST)
        return pixels * (light.mean(1, keepdim=True) / light)


class Normalization(nn.Module):
    """Subtract a mean and divide by a standard deviation, channel by channel.

    Parameters
    ----------
    mean, std : of images in [0, 1], one a channel
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Rgb = IMAGENET_MEAN, std: Rgb = IMAGENET_STD) -> None:
        super().__init__()
        # Not in a state dict: they belong to the architecture, not to what it learnt.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images of shape (n, channels, H, W)."""
        return (images - self.mean) / self.std

    @property
    def values(self) -> tuple[Rgb, Rgb]:
        """Mean and standard deviation as plain numbers."""
        return _numbers(self.mean), _numbers(self.std)


def _numbers(buffer: Tensor) -> Rgb:
    red, green, blue = (round(float(value), 6) for value in buffer.flatten())
    return red, green, blue
