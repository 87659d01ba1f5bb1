"""Light and sharpness of pictures whose numbers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFilter

from data.pictures import picture
from doctor_derma.images.quality import measure_quality


def grey(value: int) -> np.ndarray:
    return np.full((5, 6, 3), value, dtype=np.uint8)


@given(value=st.integers(0, 255))
def test_a_flat_picture_is_as_light_as_its_grey_and_not_sharp(value: int) -> None:
    quality = measure_quality(grey(value))
    assert quality.luminance == pytest.approx(value / 255, abs=1e-6)
    assert quality.sharpness == pytest.approx(0, abs=1e-6)


def test_green_is_lighter_than_blue() -> None:
    green, blue = grey(0), grey(0)
    green[..., 1], blue[..., 2] = 255, 255
    assert measure_quality(green).luminance == pytest.approx(0.587, abs=1e-3)
    assert measure_quality(blue).luminance == pytest.approx(0.114, abs=1e-3)


def test_sharpness_by_hand() -> None:
    dot = np.zeros((3, 4, 3), dtype=np.uint8)
    dot[1, 1] = 10
    # Two inner pixels: -40 at the dot, 10 beside it.
    assert measure_quality(dot).sharpness == pytest.approx(25.0**2, rel=1e-4)


def test_blur_lowers_sharpness_step_by_step() -> None:
    sharp = picture(0, (96, 72))
    found = [
        measure_quality(np.asarray(sharp.filter(ImageFilter.GaussianBlur(radius)))).sharpness
        for radius in (0, 1, 2, 4)
    ]
    assert found == sorted(found, reverse=True)
