"""The tiny bundle and a folder of pictures whose class is known."""

from pathlib import Path

import pytest
from PIL import Image

from doctor_derma.serving.classifier import Classifier
from serving.tiny_bundle import BLUE, GREEN, RED, write_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for all tests; none of them changes it."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def classifier(bundle: Path) -> Classifier:
    return Classifier.load(bundle)


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
