"""Augmentation: what it keeps, what it changes, and that every image draws its own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doctor_derma.models.preprocessing import IMAGENET_MEAN, scale_pixels
from doctor_derma.training import augmentation
from doctor_derma.training.augmentation import (
    augment,
    random_affine,
    random_colour,
    random_patches,
    sampling_grid,
)
from doctor_derma.training.config import TrainConfig

NONE = TrainConfig(rotation=0, zoom=1, aspect=1, colour=0, cast=0, cutout=0)


def pictures(count: int, side: int = 32, seed: int = 0) -> Tensor:
    drawn = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return torch.from_numpy(drawn)


def test_results_are_channels_last_in_memory() -> None:
    for images in (scale_pixels(pictures(2)), augment(pictures(2), (24, 32), TrainConfig())):
        assert images.is_contiguous(memory_format=torch.channels_last)


@given(
    count=st.integers(1, 5),
    side=st.integers(8, 40),
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    rotation=st.floats(0, 180),
    zoom=st.floats(1, 3),
    aspect=st.floats(1, 2),
    zoom_out=st.floats(0.4, 1),
    colour=st.floats(0, 1),
    cast=st.floats(0, 1),
    gamma=st.floats(1, 3),
    cutout=st.floats(0, 1),
    vignette=st.floats(0, 1),
    hair=st.floats(0, 1),
    ruler=st.floats(0, 1),
    bubbles=st.floats(0, 1),
    blur=st.floats(0, 1),
    noise=st.floats(0, 1),
    jpeg=st.floats(0, 1),
)
def test_any_strength_gives_finite_images_of_the_size(
    count: int, side: int, height: int, width: int, **strengths: float
) -> None:
    images = augment(pictures(count, side), (height, width), TrainConfig(**strengths))
    assert images.shape == (count, 3, height, width)
    assert images.dtype == torch.float32
    assert bool(torch.isfinite(images).all())
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 8), side=st.integers(2, 33), seed=st.integers(0, 2**16))
def test_without_strength_only_flips_are_left(count: int, side: int, seed: int) -> None:
    pixels = pictures(count, side, seed)
    found, plain = augment(pixels, (side, side), NONE), scale_pixels(pixels)
    for image, original in zip(found, plain, strict=True):
        flipped = torch.allclose(image, original.flip(2), atol=2e-3)
        assert flipped or torch.allclose(image, original, atol=2e-3)


def test_about_half_of_the_images_are_flipped() -> None:
    torch.manual_seed(0)
    flips = random_affine(2000, NONE)[:, 0, 0] < 0
    assert 0.45 < float(flips.float().mean()) < 0.55


def test_half_a_turn_only_permutes_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        augmentation, "uniform", lambda count, low, high: torch.full((count,), float(high))
    )
    pixels = pictures(16, 12)
    found = augment(pixels, (12, 12), NONE.model_copy(update={"rotation": 180.0}))
    turned = scale_pixels(pixels).flip((2, 3))
    for image, expected in zip(found, turned, strict=True):
        flipped = torch.allclose(image, expected.flip(2), atol=2e-3)
        assert flipped or torch.allclose(image, expected, atol=2e-3)


def test_a_quarter_turn_moves_the_right_edge_to_the_top_or_bottom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        augmentation, "uniform", lambda count, low, high: torch.full((count,), float(high))
    )
    pixels = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    pixels[:, :, -1] = 255
    image = augment(pixels, (16, 16), NONE.model_copy(update={"rotation": 90.0}))[0, 0]
    bright = image > 0.5
    rows = bright.all(dim=1)
    assert int(bright.sum()) == 16
    assert int(rows.sum()) == 1
    assert bool(rows[0]) or bool(rows[-1])


@settings(max_examples=30, deadline=None)
@given(
    rotation=st.floats(0, 180), zoom=st.floats(1, 4), aspect=st.floats(1, 1.5), seed=st.integers(0)
)
def test_maps_turn_zoom_and_stretch_by_no_more_than_asked(
    rotation: float, zoom: float, aspect: float, seed: int
) -> None:
    torch.manual_seed(seed % 2**32)
    affine = random_affine(64, TrainConfig(rotation=rotation, zoom=zoom, aspect=aspect))
    linear = affine[:, :, :2].double()
    area = torch.linalg.det(linear).abs()
    assert bool((area <= 1 + 1e-5).all())
    assert bool((area >= zoom**-2 - 1e-5).all())
    widths = linear.norm(dim=1)
    assert bool(((widths[:, 0] / widths[:, 1]) <= aspect + 1e-4).all())
    assert bool(((widths[:, 1] / widths[:, 0]) <= aspect + 1e-4).all())
    # Below half a turn the vertical axis tells the angle, flipped or not.
    angles = torch.atan2(-linear[:, 0, 1], linear[:, 1, 1]).abs().rad2deg()
    assert bool((angles <= rotation + 1e-3).all())
    # The window's centre stays so far inside that, unturned, it leaves no edge.
    assert bool((affine[:, :, 2].abs() <= 1 - area[:, None].sqrt() + 1e-5).all())


def test_a_picture_is_turned_in_the_shape_it_had() -> None:
    torch.manual_seed(0)
    maps = random_affine(50, NONE.model_copy(update={"rotation": 180.0}), aspect_ratio=4 / 3)
    # From the square to the shape of the picture: there the map is a turn, flipped or not.
    shape = torch.diag(torch.tensor([4 / 3, 1.0]))
    turns = shape @ maps[:, :, :2] @ shape.inverse()
    torch.testing.assert_close(turns @ turns.mT, torch.eye(2).expand(50, 2, 2))


def test_every_image_draws_its_own() -> None:
    torch.manual_seed(0)
    same = pictures(1).expand(16, -1, -1, -1)
    for strength in (
        {"rotation": 180.0},
        {"zoom": 1.5},
        {"aspect": 1.5},
        {"colour": 0.3},
        {"zoom_out": 0.5},
        {"cast": 0.3},
        {"gamma": 2.0},
        {"cutout": 1.0},
    ):
        images = augment(same, (32, 32), NONE.model_copy(update=strength))
        distances = torch.cdist(images.flatten(1)[None], images.flatten(1)[None])[0]
        distances.fill_diagonal_(torch.inf)
        assert float(distances.min()) > 1e-3, strength


def test_same_seed_same_images() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(augment(pictures(4), (32, 32), TrainConfig()))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_mixed_precision_changes_nothing() -> None:
    strong = TrainConfig(blur=1, noise=1, jpeg=1, gamma=2)
    torch.manual_seed(0)
    expected = augment(pictures(4), (32, 32), strong)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        found = augment(pictures(4), (32, 32), strong)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_colours_stay_around_those_of_the_picture() -> None:
    torch.manual_seed(0)
    skin = torch.tensor([200, 150, 130], dtype=torch.uint8).expand(2000, 4, 4, 3)
    images = augment(skin, (4, 4), NONE.model_copy(update={"colour": 0.3}))
    changed, plain = images.mean((2, 3)), scale_pixels(skin[:1])[0, :, 0, 0]
    assert bool(((changed.mean(0) - plain).abs() < 0.1).all())
    assert bool((changed.std(0) > 0.05).all())
    # Each image has one colour still: the change is the same everywhere in it.
    assert float(images.std((2, 3)).max()) < 1e-3


def test_no_colour_change_changes_nothing() -> None:
    matrix, offset = random_colour(3, NONE)
    pixel = torch.tensor([[0.1], [0.4], [0.9]])
    torch.testing.assert_close(matrix @ pixel + offset, pixel.expand(3, 3, 1))


def test_patches_are_squares_within_the_image() -> None:
    torch.manual_seed(0)
    masks = random_patches(2000, (32, 32))
    assert masks.shape == (2000, 1, 32, 32)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    holes = (masks == 0)[:, 0]
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), heights * widths)
    assert int(heights.max()) <= 12


def test_patches_are_cut_out_of_the_given_share_of_images() -> None:
    torch.manual_seed(0)
    white = torch.full((500, 16, 16, 3), 255, dtype=torch.uint8)
    plain = augment(white, (16, 16), NONE)
    cut = augment(white, (16, 16), NONE.model_copy(update={"cutout": 0.3}))
    assert 0.2 < float((cut != plain).flatten(1).any(1).float().mean()) < 0.4
    # What is cut out has the mean colour.
    mean = torch.tensor(IMAGENET_MEAN)
    holes = (cut != plain).any(1)
    torch.testing.assert_close(cut.permute(0, 2, 3, 1)[holes], mean.expand(int(holes.sum()), 3))


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(1, 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_the_sampling_grid_is_torchs(count: int, height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    maps = random_affine(count, TrainConfig(zoom=2, aspect=1.5))
    expected = torch.nn.functional.affine_grid(maps, [count, 3, height, width], align_corners=False)
    torch.testing.assert_close(sampling_grid(maps, (height, width)), expected)


def test_zooming_out_shows_more_than_the_picture() -> None:
    torch.manual_seed(0)
    maps = random_affine(400, NONE.model_copy(update={"zoom_out": 0.5}))
    widths = maps[:, :, :2].norm(dim=1).max(1).values
    assert 1 <= float(widths.min()) < 1.1
    assert 1.9 < float(widths.max()) <= 2 + 1e-5
    # The picture moves in its window and stays within it.
    assert bool((maps[:, :, 2].abs() <= widths[:, None] - 1 + 1e-5).all())


def test_gamma_keeps_black_and_white_and_moves_grey() -> None:
    torch.manual_seed(0)
    grey = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 3, 1).expand(200, 4, 3, 3)
    images = augment(grey, (4, 3), NONE.model_copy(update={"gamma": 2.0}))
    black, middle, white = images.mean((1, 2)).sort(1).values.unbind(1)
    assert float(black.max()) < 0.05
    assert float(white.min()) > 0.999
    assert float(middle.min()) < 0.3
    assert float(middle.max()) > 0.65
