"""Pictures that the tests predict on one machine and on Ray."""

from pathlib import Path

import pytest

from distributed.predict.drawn import draw


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Forty pictures of noise in all three classes, of which three can't be read."""
    return draw(tmp_path / "pictures", 40)
