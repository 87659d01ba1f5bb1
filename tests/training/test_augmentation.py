"""Augmentation: what it keeps, what it changes, and that every image draws its own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from doctor_derma.training import augmentation
from doctor_derma.training.augmentation import (
    MEAN,
    STD,
    augment,
    normalise,
    random_affine,
    random_colour,
    random_patches,
    sampling_grid,
)
from doctor_derma.training.config import TrainConfig

NONE = TrainConfig(rotation=0, zoom=1, aspect=1, colour=0, cutout=0)


def pictures(count: int, side: int = 32, seed: int = 0) -> Tensor:
    drawn = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return torch.from_numpy(drawn)


def test_normalise_by_hand() -> None:
    pixels = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    expected = [(v / 255 - m) / s for v, m, s in zip((0, 128, 255), MEAN, STD, strict=True)]
    found = normalise(pixels)
    assert found.shape == (1, 3, 1, 1)
    torch.testing.assert_close(found.flatten(), torch.tensor(expected))


def test_results_are_channels_last_in_memory() -> None:
    for images in (normalise(pictures(2)), augment(pictures(2), 24, TrainConfig())):
        assert images.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 5),
    side=st.integers(8, 40),
    size=st.integers(8, 40),
    rotation=st.floats(0, 180),
    zoom=st.floats(1, 3),
    aspect=st.floats(1, 2),
    colour=st.floats(0, 1),
    cutout=st.floats(0, 1),
)
def test_any_strength_gives_finite_images_of_the_size(
    count: int, side: int, size: int, **strengths: float
) -> None:
    images = augment(pictures(count, side), size, TrainConfig(**strengths))
    assert images.shape == (count, 3, size, size)
    assert images.dtype == torch.float32
    assert bool(torch.isfinite(images).all())
    assert float(images.abs().max()) < 25


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 8), side=st.integers(2, 33), seed=st.integers(0, 2**16))
def test_without_strength_only_flips_are_left(count: int, side: int, seed: int) -> None:
    pixels = pictures(count, side, seed)
    found, plain = augment(pixels, side, NONE), normalise(pixels)
    for image, original in zip(found, plain, strict=True):
        flipped = torch.allclose(image, original.flip(2), atol=2e-3)
        assert flipped or torch.allclose(image, original, atol=2e-3)


def test_about_half_of_the_images_are_flipped() -> None:
    torch.manual_seed(0)
    flips = random_affine(2000, NONE)[:, 0, 0] < 0
    assert 0.45 < float(flips.float().mean()) < 0.55


def test_half_a_turn_only_permutes_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        augmentation, "_uniform", lambda count, low, high: torch.full((count,), float(high))
    )
    pixels = pictures(16, 12)
    found = augment(pixels, 12, NONE.model_copy(update={"rotation": 180.0}))
    turned = normalise(pixels).flip((2, 3))
    for image, expected in zip(found, turned, strict=True):
        flipped = torch.allclose(image, expected.flip(2), atol=2e-3)
        assert flipped or torch.allclose(image, expected, atol=2e-3)


def test_a_quarter_turn_moves_the_right_edge_to_the_top_or_bottom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        augmentation, "_uniform", lambda count, low, high: torch.full((count,), float(high))
    )
    pixels = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    pixels[:, :, -1] = 255
    image = augment(pixels, 16, NONE.model_copy(update={"rotation": 90.0}))[0, 0]
    bright = image > 0
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
        {"cutout": 1.0},
    ):
        images = augment(same, 32, NONE.model_copy(update=strength))
        distances = torch.cdist(images.flatten(1)[None], images.flatten(1)[None])[0]
        distances.fill_diagonal_(torch.inf)
        assert float(distances.min()) > 0.5, strength


def test_same_seed_same_images() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(augment(pictures(4), 32, TrainConfig()))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_colours_stay_around_those_of_the_picture() -> None:
    torch.manual_seed(0)
    skin = torch.tensor([200, 150, 130], dtype=torch.uint8).expand(2000, 4, 4, 3)
    images = augment(skin, 4, NONE.model_copy(update={"colour": 0.3}))
    changed, plain = images.mean((2, 3)), normalise(skin[:1])[0, :, 0, 0]
    assert bool(((changed.mean(0) - plain).abs() < 0.1).all())
    assert bool((changed.std(0) > 0.2).all())
    # Each image has one colour still: the change is the same everywhere in it.
    assert float(images.std((2, 3)).max()) < 1e-3


def test_no_colour_change_is_the_normalisation() -> None:
    matrix, offset = random_colour(3, NONE)
    pixel = torch.tensor([[10.0], [100.0], [250.0]])
    expected = (pixel / 255 - torch.tensor(MEAN)[:, None]) / torch.tensor(STD)[:, None]
    torch.testing.assert_close(matrix @ pixel + offset, expected.expand(3, 3, 1))


def test_patches_are_squares_within_the_image() -> None:
    torch.manual_seed(0)
    masks = random_patches(2000, 32)
    assert masks.shape == (2000, 1, 32, 32)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    holes = (masks == 0)[:, 0]
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), heights * widths)
    assert int(heights.max()) <= 12


def test_patches_are_cut_out_of_the_given_share_of_images() -> None:
    torch.manual_seed(0)
    white = torch.full((500, 16, 16, 3), 255, dtype=torch.uint8)
    plain = augment(white, 16, NONE)
    cut = augment(white, 16, NONE.model_copy(update={"cutout": 0.3}))
    assert 0.2 < float((cut != plain).flatten(1).any(1).float().mean()) < 0.4
    assert float(cut[cut != plain].abs().max()) == 0.0


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 4), size=st.integers(1, 40), seed=st.integers(0, 99))
def test_the_sampling_grid_is_torchs(count: int, size: int, seed: int) -> None:
    torch.manual_seed(seed)
    maps = random_affine(count, TrainConfig(zoom=2, aspect=1.5))
    expected = torch.nn.functional.affine_grid(maps, [count, 3, size, size], align_corners=False)
    torch.testing.assert_close(sampling_grid(maps, size), expected)
