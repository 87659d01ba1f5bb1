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
    """How a picture is looked at: so much closer, mirrored left to right, then turned.

    ``turns`` are quarter turns; ``zoom`` is how many times closer than the whole picture.
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

    ``features_of`` maps float images (n, 3, H, W) to feature maps (n, C, h, w). The ``count`` of
    views is 1, 2, 4 or 8, which needs square images.
    """
    if count == 1:  # The usual graph has nothing in it that others alone need.
        return features_of(images)
    views = VIEWS[:count]
    seen = features_of(torch.cat([look(images, view) for view in views]))
    # By shape and not in chunks, which an exported graph would cut for one number of images only.
    each = zip(seen.unflatten(0, (count, -1)).unbind(), views, strict=True)
    return torch.stack([_put_back(maps, view) for maps, view in each]).mean(0)


def look(images: Tensor, view: View) -> Tensor:
    """Return a view of images of shape (n, 3, H, W), of the same shape."""
    if view.zoom != 1:
        height, width = images.shape[2:]
        top, left = (round(side * (1 - 1 / view.zoom) / 2) for side in (height, width))
        middle = images[:, :, top : height - top, left : width - left]
        images = functional.interpolate(
            middle, (height, width), mode="bilinear", align_corners=False
        )
    return torch.rot90(images.flip(3) if view.mirrored else images, view.turns, (2, 3))


def _put_back(maps: Tensor, view: View) -> Tensor:
    """Put the maps of a view where it looked, their sums unchanged."""
    maps = torch.rot90(maps, -view.turns, (2, 3))
    if view.mirrored:
        maps = maps.flip(3)
    if view.zoom == 1:
        return maps
    rows, columns = (_shares(side, view.zoom).to(maps) for side in maps.shape[2:])
    return rows @ maps @ columns.T


def _shares(side: int, zoom: float) -> Tensor:
    """Return how much of each of the cells of a closer look, in the columns, lies in each cell
    of the whole, in the rows; shape (side, side)."""
    edges = torch.arange(side + 1, dtype=torch.float64)
    placed = side / 2 + (edges - side / 2) / zoom
    ends = torch.minimum(edges[1:, None], placed[None, 1:])
    starts = torch.maximum(edges[:-1, None], placed[None, :-1])
    return (ends - starts).clamp(min=0) * zoom
