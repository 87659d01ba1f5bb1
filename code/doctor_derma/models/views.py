"""Several views of each picture: as it is, mirrored, upside down and turned.

A lesion has no upright side, so each view shows as well what it is, and the errors of the views
are not the same: their average is right more often, at the price of so many runs.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Quarter turns and whether it is mirrored, of each view. The first 2 are a picture and its mirror
# image, the first 4 keep the shape of a picture that is not square.
_VIEWS = (
    *((0, False), (0, True), (2, False), (2, True)),
    *((1, False), (1, True), (3, False), (3, True)),
)


def average_over_views(
    features_of: Callable[[Tensor], Tensor], images: Tensor, count: int
) -> Tensor:
    """Return feature maps averaged over views, each turned back so that places fit.

    Parameters
    ----------
    features_of : maps images (n, 3, H, W) to feature maps (n, C, h, w)
    images : float of shape (n, 3, H, W), square where ``count`` is 8
    count : number of views: 1, 2, 4 or 8
    """
    if count == 1:  # The usual graph has nothing in it that others alone need.
        return features_of(images)
    views = _VIEWS[:count]
    seen = features_of(torch.cat([_turned(images, *view) for view in views]))
    # By shape and not in chunks, which an exported graph would cut for one number of images only.
    each = seen.unflatten(0, (count, -1)).unbind()
    back = [_turned_back(maps, *view) for maps, view in zip(each, views, strict=True)]
    return torch.stack(back).mean(0)


def _turned(images: Tensor, turns: int, mirrored: bool) -> Tensor:
    return torch.rot90(images.flip(3) if mirrored else images, turns, (2, 3))


def _turned_back(maps: Tensor, turns: int, mirrored: bool) -> Tensor:
    turned = torch.rot90(maps, -turns, (2, 3))
    return turned.flip(3) if mirrored else turned
