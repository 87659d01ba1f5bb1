"""The shipped model's card is what the repository's own measurements of it say."""

import re
from pathlib import Path

import pytest

from doctor_derma.bundle import read_card, read_info
from doctor_derma.reporting.evidence import read_evidence
from doctor_derma.reporting.model_card import model_card

ROOT = Path(__file__).parents[2]
# It counts the lesions of each class, which only the data set itself tells.
OF_THE_DATA = "Training data"


def sections(card: str) -> dict[str, str]:
    return dict(re.findall(r"(?ms)^## ([^\n]*)\n(.*?)(?=^## |\Z)", card))


@pytest.mark.parametrize("name", ["champion", "champion-int8"])
def test_the_shipped_card_is_byte_for_byte_what_is_written_today(name: str) -> None:
    bundle = ROOT / "deployment" / "models" / name
    info = read_info(bundle)
    written = model_card(info, read_evidence(info, ROOT / "evaluation_images"))
    shipped, found = read_card(bundle), sections(written)
    assert shipped.partition("\n## ")[0] == written.partition("\n## ")[0]
    assert sections(shipped).keys() == found.keys()
    for title in found.keys() - {OF_THE_DATA}:
        assert sections(shipped)[title] == found[title], f"derma card {bundle} writes it again"
