r"""Colour constancy: the colour of the light taken out of a picture.

The light's colour is estimated as the Minkowski mean of each channel over the picture [1]_,

.. math:: e_c = \Big(\frac{1}{HW} \sum_{i,j} x_{c,i,j}^p\Big)^{1/p}

and every channel is divided by its :math:`e_c`, times their mean, which keeps the brightness.
p = 1 is the gray-world assumption, p to infinity that the brightest spot is white.

References
----------
.. [1] G. D. Finlayson, E. Trezzi: Shades of Gray and Colour Constancy. Color and Imaging
       Conference 2004.
"""

import torch
from torch import Tensor, nn

# What images are normalised with: ImageNet's mean and standard deviation in RGB, so that
# pretrained weights fit.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_POWER = 6  # The best of [1] on its pictures.
_DARKEST = 1e-3  # So that a black picture is not divided by zero.


class ShadesOfGray(nn.Module):
    """Colour constancy of normalised images, as the first layer of a network.

    Parameters
    ----------
    mean, std : what the images were normalised with, of the range 0 to 1, one a channel

    Examples
    --------
    >>> import torch
    >>> layer = ShadesOfGray((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    >>> blue = torch.tensor([0.2, 0.2, 0.8]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    >>> [round(value, 3) for value in layer(blue)[0, :, 0, 0].tolist()]
    [0.4, 0.4, 0.4]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return images of the same shape, (n, channels, H, W), and normalisation."""
        pixels = (images * self.std + self.mean).clamp(min=0)
        light = pixels.pow(_POWER).mean((2, 3), keepdim=True).pow(1 / _POWER).clamp(min=_DARKEST)
        balanced = pixels * (light.mean(1, keepdim=True) / light)
        return (balanced - self.mean) / self.std
