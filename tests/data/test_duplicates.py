import io

import numpy as np
import pytest
from PIL import Image

from data.pictures import encoded, picture
from doctor_derma.images.thumbnails import near_identical_pairs, thumbnail


def thumbnails(images: list[Image.Image]) -> np.ndarray:
    return np.array([thumbnail(image) for image in images])


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: Image.open(io.BytesIO(encoded(image, quality=60))).convert("RGB"),
        lambda image: image.resize((100, 75), Image.Resampling.BILINEAR),
        lambda image: image.resize((611, 457), Image.Resampling.LANCZOS),
    ],
    ids=["encoded again", "half the size", "three times the size"],
)
def test_copies_are_found_among_other_pictures(copy) -> None:
    images = [picture(seed, (200, 150)) for seed in range(30)]

    pairs = near_identical_pairs(thumbnails([*images, copy(images[7])]))

    assert pairs.tolist() == [[7, 30]]


def test_equals_the_distances_pair_by_pair() -> None:
    generator = np.random.default_rng(0)
    base = generator.integers(0, 256, (5, 16, 16, 3))
    noisy = base.repeat(4, axis=0) + generator.normal(0, 3, (20, 16, 16, 3))
    rows = noisy.clip(0, 255).astype(np.uint8)
    # Blocks of a few rows, so that pairs cross blocks.
    pairs = near_identical_pairs(rows, threshold=4.2, block=3)

    flat = rows.reshape(20, -1).astype(float)
    expected = [
        [i, j]
        for i in range(20)
        for j in range(i + 1, 20)
        if np.sqrt(np.mean((flat[i] - flat[j]) ** 2)) < 4.2
    ]
    assert expected
    assert pairs.tolist() == expected


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_for_a_pair(count: int) -> None:
    assert near_identical_pairs(np.zeros((count, 16, 16, 3), np.uint8)).shape == (0, 2)
