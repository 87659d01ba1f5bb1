"""A folder of pictures whose class is known."""

from pathlib import Path

import pytest
from PIL import Image

from server.tiny_bundle import BLUE, GREEN, RED


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A red, a green and a blue picture, one of them a folder deeper, and a text file."""
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (20, 10), RED).save(folder / "a_red.png")
    Image.new("RGB", (16, 24), GREEN).save(folder / "b_green.JPG", quality=95)
    Image.new("RGB", (12, 12), BLUE).save(folder / "deep" / "c_blue.png")
    (folder / "notes.txt").write_text("no picture")
    return folder
