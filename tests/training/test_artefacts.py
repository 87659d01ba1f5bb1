"""What is laid over a lesion: how much of an image it covers, and that each draws its own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from doctor_derma.training.artefacts import lay_bubbles, lay_hairs, lay_ruler, shade_borders

GREY = torch.full((64, 3, 72, 96), 0.5)
ALL: tuple[Callable[[Tensor], Tensor], ...] = (lay_hairs, lay_ruler, lay_bubbles, shade_borders)


def changed(lay: Callable[[Tensor], Tensor], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return 64 grey images with something laid over them, and where each has changed."""
    torch.manual_seed(seed)
    images = lay(GREY)
    return images, ((images - GREY).abs() > 0.02).any(1)


@pytest.mark.parametrize("lay", ALL)
def test_each_image_gets_its_own_and_stays_an_image(lay: Callable[[Tensor], Tensor]) -> None:
    images, where = changed(lay)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert len(torch.unique(where.flatten(1), dim=0)) > 50
    assert torch.equal(lay(GREY[:0]), GREY[:0])


def test_hairs_are_dark_and_thin() -> None:
    images, where = changed(lay_hairs)
    assert float((images - GREY).mean()) < 0
    share = where.float().mean((1, 2))
    assert 0 < float(share.min()) < float(share.max()) < 0.75
    # A hair is a few pixels across: no square of 9 pixels is covered where there are few.
    few = where[share < 0.1].float()[:, None]
    assert len(few) > 3
    assert float(torch.nn.functional.avg_pool2d(few, 9, 1).max()) < 1


def test_a_ruler_lies_along_one_edge() -> None:
    images, where = changed(lay_ruler)
    assert float((images - GREY).max()) <= 0
    edges = torch.stack(
        [where[:, 0].any(1), where[:, -1].any(1), where[..., 0].any(1), where[..., -1].any(1)]
    )
    assert bool(edges.any(0).all())
    assert not bool(where[:, 30:42, 40:56].any())  # It does not reach the middle.


def test_bubbles_are_bright_rings() -> None:
    images, where = changed(lay_bubbles)
    assert float((images - GREY).min()) >= 0
    assert float(where.float().mean()) < 0.4


def test_borders_get_darker_than_the_middle() -> None:
    images, _ = changed(shade_borders)
    corners = images[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].min(1).values
    assert bool((corners < images[:, 0, 36, 48]).all())
    tubes = corners < 0.02
    assert 0.25 < float(tubes.float().mean()) < 0.75
