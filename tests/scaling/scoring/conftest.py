"""The tiny bundle, and pictures that the tests score on one machine and on Ray."""

from pathlib import Path

import pytest

from doctor_derma.serving.classifier import Classifier
from scaling.scoring.drawn import draw
from serving.tiny_bundle import write_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for all tests; none of them changes it."""
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def classifier(bundle: Path) -> Classifier:
    return Classifier.load(bundle)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Forty pictures of noise in all three classes, of which three can't be read."""
    return draw(tmp_path / "pictures", 40)
