"""What others get to see of a data set."""

import json
from pathlib import Path

import pytest

from data.pictures import sources
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.data.sharing import table_files


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("doi:10.7910/DVN/DBW86T, /home/anna/patients", "doi:10.7910/DVN/DBW86T, patients"),
        ("/home/anna/x.csv, https://example.org/a/b", "x.csv, https://example.org/a/b"),
        ("anna/scans/graz, drawn by Doctor Derma", "graz, drawn by Doctor Derma"),
    ],
)
def test_no_folder_of_this_machine_is_told(source: str, told: str, tmp_path: Path) -> None:
    info = DatasetInfo("both", source, "CC0-1.0", 0)
    import_images(sources({"a": 4, "b": 4}), info, tmp_path)
    files = table_files(read_dataset(tmp_path), None, pictures=False)
    described, card = files["dataset.json"], files["README.md"]
    assert isinstance(described, bytes)
    assert isinstance(card, bytes)
    assert json.loads(described)["source"] == told
    assert f"\n\n{told}\n\n" in card.decode()
