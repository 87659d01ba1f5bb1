"""Whether a plot was drawn, by its pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor_derma.evaluation.plots.style import DPI

# Of the plots of the shipped model, the emptiest has 0.06.
LEAST_INK = 0.01


def assert_drawn(path: Path, inches: tuple[float, float]) -> None:
    """Hold a PNG to about the size of its figure, whose margins are cut, and to ink on it."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    assert (width / DPI, height / DPI) == pytest.approx(inches, rel=0.4)
    assert (pixels < 240).any(axis=2).mean() > LEAST_INK
