"""Several views of each picture: the whole of it and closer looks at its middle, turned about.

A lesion has no upright side and no size that all pictures show it in, so each view shows as well
what it is, and the errors of the views are not the same: their average is right more often, at
the price of so many runs. Looks from two distances differ more than a picture and its mirror
image do.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# As close as training looks, see ``TrainConfig.zoom``.
CLOSER = 1.5


class View(NamedTuple):
    """How a picture is looked at.

    Attributes
    ----------
    turns : quarter turns
    mirrored : whether it is mirrored, left to right, before it is turned
    zoom : how many times closer than the whole picture
    """

    turns: int
    mirrored: bool
    zoom: float


# Each pair has a whole picture in it and a closer look. The first 4 keep the shape of a picture
# that is not square.
VIEWS = (
    *(View(0, False, 1), View(0, True, CLOSER), View(2, True, 1), View(2, False, CLOSER)),
    *(View(1, False, 1), View(1, True, CLOSER), View(3, True, 1), View(3, False, CLOSER)),
)


def average_over_views(
    features_of: Callable[[Tensor], Tensor], images: Tensor, count: int
) -> Tensor:
    """Return feature maps averaged over views, each put back so that places fit.

    The mean over all places is the mean of those of the views.

    Parameters
    ----------
    features_of : maps images (n, 3, H, W) to feature maps (n, C, h, w)
    images : float of shape (n, 3, H, W), square where ``count`` is 8
    count : number of views: 1, 2, 4 or 8
    """
    if count == 1:  # The usual graph has nothing in it that others alone need.
        return features_of(images)
    views = VIEWS[:count]
    seen = features_of(torch.cat([look(images, view) for view in views]))
    # By shape and not in chunks, which an exported graph would cut for one number of images only.
    each = seen.unflatten(0, (count, -1)).unbind()
    return torch.stack(
        [_put_back(maps, view) for maps, view in zip(each, views, strict=True)]
    ).mean(0)


def look(images: Tensor, view: View) -> Tensor:
    """Return a view of images of shape (n, 3, H, W), of the same shape."""
    closer = _enlarged_middle(images, view.zoom) if view.zoom != 1 else images
    return torch.rot90(closer.flip(3) if view.mirrored else closer, view.turns, (2, 3))


def _put_back(maps: Tensor, view: View) -> Tensor:
    turned = torch.rot90(maps, -view.turns, (2, 3))
    upright = turned.flip(3) if view.mirrored else turned
    return _over_the_middle(upright, view.zoom) if view.zoom != 1 else upright


def _enlarged_middle(images: Tensor, zoom: float) -> Tensor:
    height, width = images.shape[2:]
    top, left = (round(side * (1 - 1 / zoom) / 2) for side in (height, width))
    middle = images[:, :, top : height - top, left : width - left]
    return functional.interpolate(middle, (height, width), mode="bilinear", align_corners=False)


def _over_the_middle(maps: Tensor, zoom: float) -> Tensor:
    """Put maps of a closer look where it looked, their sums unchanged."""
    rows, columns = (_shares(side, zoom).to(maps) for side in maps.shape[2:])
    return rows @ maps @ columns.T


def _shares(side: int, zoom: float) -> Tensor:
    """Return how much of each of the cells of a closer look, in the columns, lies in each cell
    of the whole, in the rows; shape (side, side)."""
    edges = torch.arange(side + 1, dtype=torch.float64)
    placed = side / 2 + (edges - side / 2) / zoom
    ends = torch.minimum(edges[1:, None], placed[None, 1:])
    starts = torch.maximum(edges[:-1, None], placed[None, :-1])
    return (ends - starts).clamp(min=0) * zoom
