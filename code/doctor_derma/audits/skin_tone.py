"""The tone of the skin around a lesion, as the individual typology angle (ITA).

Chardon, Cretois and Hourseau: "Skin colour typology and suntanning pathways", International
Journal of Cosmetic Science 13, 1991. The angle is meant for a colorimeter. In pictures, white
balance and exposure move it as much as the skin does: a pink or blue cast has little yellow
or none, which reads as very light. Bands compare pictures, and people only as far as one
camera took them all.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import binary_dilation, distance_transform_edt, grey_closing

from doctor_derma.audits.groups import UNKNOWN
from doctor_derma.data.masks import read_mask
from doctor_derma.evaluation.plots.style import INK, MUTED, legend_below, new_figure, style_axes
from doctor_derma.evaluation.predictions import open_picture
from doctor_derma.images.decoding import fit_pixels
from doctor_derma.terminal import with_progress

# Lower limits in degrees, lightest first.
BANDS = {
    "very light": 55.0,
    "light": 41.0,
    "intermediate": 28.0,
    "tan": 10.0,
    "brown": -30.0,
    "dark": -np.inf,
}
BAND_COLOURS = ("#f2cdb0", "#dfa67f", "#c17f57", "#95593a", "#663722", "#341a10")
# Pictures are measured at this shorter side; medians of colour need no more pixels.
SHORTER_SIDE = 150
# Distances from the mask, in shares of the shorter side: the lesion's own rim is left out.
RING = (0.04, 0.25)
# CIELAB lightness: a black corner or frame is darker than this, and so is what it shades.
BLACK = 25.0
SHADE = 0.05
# A hair is narrower than this share of the shorter side, and so much darker than beside it.
HAIR_WIDTH = 0.06
HAIR_DEPTH = 8.0
# Fewer pixels of skin than this share of the picture don't tell its tone.
LEAST_SKIN = 0.01

# IEC 61966-2-1: linear sRGB to CIE XYZ for the white of daylight (D65).
SRGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = SRGB_TO_XYZ.sum(axis=1)


def measure_skin_tones(folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Measure the skin around the lesion of each image.

    Parameters
    ----------
    folder : the ``data/`` folder
    rows : n rows of the manifest

    Returns
    -------
    DataFrame [n] with ``image``, ``lightness`` (L*), ``yellow`` (b*) and ``angle`` in degrees, nan
    where there is no mask or too little skin, and ``band`` (of ``BANDS``, or ``unknown``)

    Raises
    ------
    DermaError
        When a picture or a mask can't be decoded.
    """
    colours = np.full((len(rows), 2), np.nan)
    steps = list(zip(rows["image"], rows["path"], strict=True))
    for row, (image, path) in enumerate(with_progress(steps, "Measuring skin tones")):
        mask = read_mask(folder, image)
        if mask is not None:
            colours[row] = skin_colour(*_shrunk(folder / path, mask)) or np.nan
    lightness, yellow = colours.T
    angles = typology_angle(lightness, yellow)
    found = {"lightness": lightness, "yellow": yellow, "angle": angles}
    bands = [skin_band(angle) for angle in angles]
    return pd.DataFrame({"image": rows["image"].to_numpy(), **found, "band": bands})


def skin_colour(pixels: np.ndarray, mask: np.ndarray) -> tuple[float, float] | None:
    """Return the median L* and the median b* of the skin around a lesion.

    ``pixels`` are uint8 sRGB [H, W, 3], ``mask`` is bool [H, W], True inside the lesion. None where
    under ``LEAST_SKIN`` of the picture is skin.
    """
    lab = srgb_to_lab(pixels)
    skin = surrounding_skin(lab[..., 0], mask)
    if skin.mean() < LEAST_SKIN:
        return None
    lightness, _, yellow = np.median(lab[skin], axis=0)
    return float(lightness), float(yellow)


def typology_angle(lightness: np.ndarray, yellow: np.ndarray) -> np.ndarray:
    """Return ITA = atan2(L* - 50, b*) in degrees, float [n].

    Above 90 the skin is light and bluish; nan is skin that is bluish and not even light,
    which the angle has no place for.
    """
    angles = np.degrees(np.arctan2(lightness - 50, yellow))
    return np.where((lightness <= 50) & (yellow <= 0), np.nan, angles)


def skin_band(angle: float) -> str:
    """Return the band of an angle: above 55 very light, above 41 light, ... (Chardon et al.)."""
    return next((band for band, above in BANDS.items() if angle > above), UNKNOWN)


def surrounding_skin(lightness: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Find the skin in a ring around the lesion, without black corners and dark hair.

    ``lightness`` is L*, float [H, W]; ``mask`` is bool [H, W], True inside the lesion. Returns bool
    [H, W], True where there is skin.
    """
    side = min(mask.shape)
    near, far = (share * side for share in RING)
    distance = distance_transform_edt(~mask)
    ring = (distance > near) & (distance <= far)
    corners = binary_dilation((lightness < BLACK) & ~mask, iterations=max(1, round(SHADE * side)))
    # Closing fills what is dark and narrow with the lightness beside it.
    width = 2 * round(HAIR_WIDTH * side / 2) + 1
    hair = grey_closing(lightness, size=(width, width)) - lightness > HAIR_DEPTH
    return ring & ~corners & ~hair


def srgb_to_lab(pixels: np.ndarray) -> np.ndarray:
    """Convert uint8 sRGB [..., 3] to CIELAB [..., 3]: L* from 0 to 100, a*, b* (CIE 15)."""
    scaled = pixels / 255.0
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    ratios = linear @ SRGB_TO_XYZ.T / WHITE
    curved = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), ratios * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(curved, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def plot_skin_tones(frame: pd.DataFrame) -> Figure:
    """Draw each image of `measure_skin_tones`, yellow across and lightness up, in its band."""
    measured = frame[frame["band"] != UNKNOWN]
    figure = new_figure(7.2, 6.2)
    axes = figure.subplots()
    for (band, above), colour in zip(BANDS.items(), BAND_COLOURS, strict=True):
        of_band = measured[measured["band"] == band]
        yellow, lightness = of_band["yellow"], of_band["lightness"]
        label = f"{band} ({len(of_band):,})"
        axes.scatter(
            yellow, lightness, s=18, color=colour, edgecolor=INK, linewidth=0.3, label=label
        )
        if np.isfinite(above):
            far, angle = np.array([0, 200]), np.radians(above)
            axes.plot(far * np.cos(angle), 50 + far * np.sin(angle), color=MUTED, linewidth=0.8)
    axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    bluish = np.mean(measured["yellow"] <= 0) if len(measured) else 0.0
    style_axes(
        axes,
        f"Skin around the lesion; {bluish:.0%} of the pictures show it with no yellow",
        "b* (CIELAB), from blue (negative) to yellow",
        "L* (CIELAB), lightness from 0 to 100",
    )
    if len(measured):
        axes.set_xlim(measured["yellow"].min() - 3, measured["yellow"].max() + 3)
        axes.set_ylim(measured["lightness"].min() - 3, measured["lightness"].max() + 3)
    legend_below(figure, axes, 3, "Band of the individual typology angle (images)")
    return figure


def _shrunk(path: Path, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = min(1.0, SHORTER_SIDE / min(mask.shape))
    height, width = (max(1, round(scale * side)) for side in mask.shape)
    small = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return fit_pixels(open_picture(path), height, width), np.asarray(small)
