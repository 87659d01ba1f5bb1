"""The icon of the site in pixels, as phones want it where a page becomes an app."""

from pathlib import Path

from PIL import Image, ImageDraw

TEAL, WHITE = "#0b6e6e", "#ffffff"
# Drawn larger and made smaller, which smooths the edges.
_OVERSAMPLING = 4
# The white spot of icon.svg, as a share of the side.
_SPOT = 6 / 32


def write_icon(path: Path, side: int) -> None:
    """Draw the spot of ``icon.svg`` as a PNG that is filled to its corners, so that it may be cut.

    Parameters
    ----------
    side : in pixels
    """
    large = side * _OVERSAMPLING
    icon = Image.new("RGB", (large, large), TEAL)
    low, high = large * (0.5 - _SPOT), large * (0.5 + _SPOT)
    ImageDraw.Draw(icon).ellipse((low, low, high, high), fill=WHITE)
    icon.resize((side, side), Image.Resampling.LANCZOS).save(path, optimize=True)
