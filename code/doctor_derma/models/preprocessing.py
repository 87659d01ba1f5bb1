"""From pixels to what a network sees: scaled to [0, 1], then normalised as its backbone expects."""

import torch
from torch import Tensor, nn

# ImageNet's mean and standard deviation in RGB: what a backbone is given unless its own
# pretrained weights say otherwise.
Rgb = tuple[float, float, float]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def scale_pixels(pixels: Tensor) -> Tensor:
    """Turn uint8 (n, H, W, 3) into float32 (n, 3, H, W) in [0, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 255


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
