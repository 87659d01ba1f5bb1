"""Corruptions keep a picture a picture, repeat themselves, and get worse by severity."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from doctor_derma.audits.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from doctor_derma.data.synthetic.lesions import draw_lesion
from doctor_derma.data.synthetic.scenes import Skin, photograph
from doctor_derma.errors import DermaError

# Those that move each value one way, further with each severity, whatever the picture.
POINTWISE = ("noise", "darker", "brighter", "warm", "cool", "hair")


@cache
def lesion(dx: str, size: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng([*dx.encode()])
    return np.array(
        photograph(draw_lesion(dx, generator), Skin(0.1, 0.2, hairs=1), size, generator)
    )


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(float) - second).mean())


def solid(level: int, height: int = 30, width: int = 40) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


@given(
    name=st.sampled_from(sorted(CORRUPTIONS)),
    severity=st.sampled_from(SEVERITIES),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 5),
)
def test_any_size_keeps_shape_and_type_and_repeats(
    name: str, severity: int, height: int, width: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = pixels.copy()
    found = corrupt(name, pixels, severity, "ISIC_0000001")
    assert found.shape == pixels.shape
    assert found.dtype == np.uint8
    assert np.array_equal(pixels, before)
    assert np.array_equal(found, corrupt(name, pixels, severity, "ISIC_0000001"))


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(POINTWISE),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_no_value_comes_back_as_severity_rises(
    name: str, height: int, width: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    changes = [np.abs(corrupt(name, pixels, s, str(seed)).astype(int) - pixels) for s in SEVERITIES]
    assert all((worse >= better).all() for better, worse in pairwise(changes))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_changes_a_lesion_more(name: str) -> None:
    pictures = {dx: lesion(dx, (200, 150)) for dx in ("mel", "nv", "bcc", "df")}
    changes = [
        np.mean([difference(corrupt(name, p, s, dx), p) for dx, p in pictures.items()])
        for s in (0, *SEVERITIES)
    ]
    assert changes[0] == 0
    assert all(np.diff(changes) > 0)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "jpeg"])
def test_a_severity_means_the_same_at_any_size(name: str) -> None:
    large = lesion("mel", (600, 450))
    small = shrink(large)
    for severity in (1, 3, 5):
        of_large = shrink(corrupt(name, large, severity, "a"))
        of_small = corrupt(name, small, severity, "a")
        cost = difference(of_small, small)
        assert difference(of_large, of_small) < max(1.0, 0.3 * cost)


def shrink(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((200, 150), Image.Resampling.BOX))


@pytest.mark.parametrize("name", ["noise", "hair", "ruler"])
def test_each_image_has_its_own_random_numbers(name: str) -> None:
    pixels = lesion("nv", (80, 60))
    found = [corrupt(name, pixels, 4, f"ISIC_{n}") for n in range(6)]
    assert len({one.tobytes() for one in found}) > 1


def test_exposure_is_in_stops_of_light() -> None:
    # Severity 2 of darker is one stop: half the light, 2 ** (-1 / 2.2) of the stored value.
    assert (corrupt("darker", solid(100), 2, "a") == 73).all()
    # Severity 4 of brighter is one stop up: 100 * 1.370; what passes white stays white.
    assert (corrupt("brighter", solid(100), 4, "a") == 137).all()
    assert (corrupt("brighter", solid(200), 4, "a") == 255).all()


def test_casts_take_one_end_of_the_spectrum() -> None:
    assert corrupt("warm", solid(100), 5, "a")[0, 0].tolist() == [100, 79, 58]
    assert corrupt("cool", solid(100), 5, "a")[0, 0].tolist() == [58, 79, 100]


def test_noise_has_the_deviation_it_says() -> None:
    found = corrupt("noise", solid(128, 200, 200), 2, "a").astype(float) - 128
    assert found.std() == pytest.approx(16, abs=0.5)
    assert found.mean() == pytest.approx(0, abs=0.3)


def test_a_quarter_turn_is_exact_inside_and_mirrored_outside() -> None:
    square = lesion("mel", (60, 60))
    turns = [np.rot90(square, quarter) for quarter in (1, -1)]
    found = corrupt("rotation", square, 5, "a")
    assert min(difference(found, turn) for turn in turns) < 0.5
    wide = np.concatenate([square[:, :10], square, square[:, -10:]], axis=1)
    assert corrupt("rotation", wide, 5, "a").min() > 0  # No black corners.


def test_overlays_are_dark_and_thin() -> None:
    hairs = corrupt("hair", solid(220, 150, 200), 5, "a")
    ruler = corrupt("ruler", solid(220, 150, 200), 5, "a")
    assert hairs.min() < 80
    assert ruler.min() < 60
    assert 0.05 < (hairs[..., 0] < 200).mean() < 0.5
    # The longest mark reaches 24% of the shorter side inwards from one edge.
    marked = ruler[..., 0] < 200
    spans = [marked.any(axis=axis).sum() for axis in (0, 1)]
    assert min(spans) == pytest.approx(0.24 * 150, abs=2)


@pytest.mark.parametrize(("name", "severity"), [("fog", 1), ("blur", 6), ("blur", -1)])
def test_unknown_corruption_or_severity_is_named(name: str, severity: int) -> None:
    with pytest.raises(DermaError, match=name if name == "fog" else str(severity)):
        corrupt(name, solid(100), severity, "a")
