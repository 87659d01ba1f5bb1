"""The angle of known colours, and which pixels count as skin."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from doctor_derma.audits.skin_tone import (
    measure_skin_tones,
    plot_skin_tones,
    skin_band,
    skin_colour,
    srgb_to_lab,
    surrounding_skin,
    typology_angle,
)
from doctor_derma.evaluation.plots.style import save_png

SKIN = (224, 172, 140)
# Its CIELAB: linear sRGB (0.7454, 0.4125, 0.2623), XYZ (0.5023, 0.4725, 0.3129), so that the
# cube roots of X/0.9505, Y, Z/1.0888 are 0.8085, 0.7789, 0.6598.
LIGHTNESS, YELLOW = 74.35, 23.8


def scene(height: int = 150, width: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Skin with a brown disc of 30 pixels' radius in the middle, and its mask."""
    rows, columns = np.mgrid[0:height, 0:width]
    mask = np.hypot(rows - height / 2, columns - width / 2) < height / 5
    pixels = np.where(mask[..., None], (90, 50, 40), SKIN).astype(np.uint8)
    return pixels, mask


def test_known_colours_in_cielab() -> None:
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    assert np.allclose(srgb_to_lab(colours), expected, atol=0.02)


@pytest.mark.parametrize(
    ("lightness", "yellow", "angle", "band"),
    [
        (70, 20, 45, "light"),
        (50, 20, 0, "brown"),
        (30, 20, -45, "dark"),
        (80, 30 / np.sqrt(3), 60, "very light"),
        (60, 10 * np.sqrt(3), 30, "intermediate"),
        (57, 26.12, 15, "tan"),
        (70, -20, 135, "very light"),
    ],
)
def test_angles_by_hand(lightness: float, yellow: float, angle: float, band: str) -> None:
    measured = typology_angle(np.array([lightness]), np.array([yellow]))
    assert measured == pytest.approx([angle], abs=0.01)
    assert skin_band(measured[0]) == band


def test_dim_and_bluish_skin_has_no_angle() -> None:
    measured = typology_angle(np.array([40.0, 60.0]), np.array([-10.0, -10.0]))
    assert np.isnan(measured[0])
    assert measured[1] == pytest.approx(135)


def test_limits_belong_to_the_darker_band() -> None:
    assert [skin_band(limit) for limit in (55, 41, 28, 10, -30)] == [
        "light",
        "intermediate",
        "tan",
        "brown",
        "dark",
    ]
    assert skin_band(np.nan) == "unknown"


@given(st.floats(0, 100), st.floats(0.5, 60), st.floats(0.1, 20))
def test_lighter_skin_has_a_larger_angle(lightness: float, yellow: float, more: float) -> None:
    darker, lighter = typology_angle(np.array([lightness, lightness + more]), np.full(2, yellow))
    assert lighter > darker


def test_skin_is_measured_and_the_lesion_is_not() -> None:
    assert skin_colour(*scene()) == pytest.approx((LIGHTNESS, YELLOW), abs=0.1)


def test_the_ring_keeps_its_distance() -> None:
    pixels, mask = scene()
    skin = surrounding_skin(srgb_to_lab(pixels)[..., 0], mask)
    rows, columns = np.nonzero(skin)
    radius = np.hypot(rows - 75, columns - 100)
    # 4% and 25% of the shorter side from a disc of 30 pixels' radius.
    assert radius.min() == pytest.approx(36, abs=1)
    assert radius.max() == pytest.approx(67.5, abs=1)


def test_black_corners_and_hair_are_left_out() -> None:
    pixels, mask = scene()
    pixels[:, :60] = 8
    pixels[20:22] = (50, 35, 30)
    skin = surrounding_skin(srgb_to_lab(pixels)[..., 0], mask)
    assert skin.any()
    # The corner and its rim of 5% of the shorter side; the hair.
    assert not skin[:, :66].any()
    assert not skin[20:22].any()
    assert skin_colour(pixels, mask) == pytest.approx((LIGHTNESS, YELLOW), abs=0.1)


def test_where_the_lesion_fills_the_picture_nothing_is_measured() -> None:
    pixels, mask = scene()
    assert skin_colour(pixels, np.ones_like(mask)) is None


def test_images_with_and_without_a_mask(tmp_path: Path) -> None:
    pixels, mask = scene(300, 400)
    (tmp_path / "masks").mkdir()
    Image.fromarray(pixels).save(tmp_path / "one.png")
    Image.fromarray(mask).save(tmp_path / "masks" / "one.png")
    rows = pd.DataFrame({"image": ["one", "two"], "path": ["one.png", "two.png"]})

    frame = measure_skin_tones(tmp_path, rows)

    expected = np.degrees(np.arctan2(LIGHTNESS - 50, YELLOW))
    assert frame["angle"][0] == pytest.approx(expected, abs=0.3)
    assert list(frame["band"]) == ["light", "unknown"]
    assert frame[["lightness", "yellow", "angle"]].iloc[1].isna().all()


@pytest.mark.slow
def test_the_plot_counts_the_bands(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "lightness": [70.0, 75.0, 40.0, np.nan],
            "yellow": [20.0, -2.0, 15.0, np.nan],
            "band": ["light", "very light", "dark", "unknown"],
        }
    )
    figure = plot_skin_tones(frame)
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[:3] == ["very light (1)", "light (1)", "intermediate (0)"]
    assert "33% of the pictures" in figure.axes[0].get_title(loc="left")
    save_png(figure, tmp_path / "skin.png")
