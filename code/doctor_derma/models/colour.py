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

from torch import Tensor, nn

_POWER = 6  # The best of [1] on its pictures.
_DARKEST = 1e-3  # So that a black picture is not divided by zero.


class ShadesOfGray(nn.Module):
    """Colour constancy of images in [0, 1], as the first layer of a network.

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
