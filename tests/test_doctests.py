"""The examples in docstrings print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

import doctor_derma

ROOT = Path(__file__).parents[1]
PACKAGE = Path(doctor_derma.__file__).parent
# What others build on: each of these shows how it is used.
PUBLIC = {
    "bundle",
    "client.exchange",
    "data.splits",
    "decisions",
    "evaluation.bootstrap",
    "evaluation.calibration",
    "evaluation.metrics",
    "inference.classifier",
    "inference.conformal",
    "models.attention",
    "models.networks",
    "training.config",
}
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def test_what_others_build_on_has_examples() -> None:
    assert set(MODULES) >= PUBLIC


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in the README, paths are those of the checkout.
    monkeypatch.chdir(ROOT)
    results = doctest.testmod(importlib.import_module(f"doctor_derma.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
