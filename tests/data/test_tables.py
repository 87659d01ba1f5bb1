"""Tables come from spreadsheets: the separator and the encoding are theirs."""

from pathlib import Path

import pytest

from doctor_derma.data.importers.tables import as_age, read_table
from doctor_derma.errors import DermaError

PLAIN = 'image,lesion,site\na/x.jpg,L1,"arm, left"\nÜbung.jpg,NA,\n'
CELLS = [["a/x.jpg", "L1", "arm, left"], ["Übung.jpg", "NA", ""]]
SEMICOLONS = "image;lesion;site\na/x.jpg;L1;arm, left\nÜbung.jpg;NA;\n"
TABS = SEMICOLONS.replace(";", "\t")


@pytest.mark.parametrize("text", [PLAIN, SEMICOLONS, TABS, SEMICOLONS.replace(";", "|")])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_separators_and_encodings_are_found(
    text: str, encoding: str, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / "metadata.csv"
    path.write_bytes(text.replace("\n", ending).encode(encoding))
    table = read_table(path)
    assert list(table.columns) == ["image", "lesion", "site"]
    assert table.to_numpy().tolist() == CELLS


def test_what_spreadsheets_add_is_not_data(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text("sep=;\n image ;lesion;\nx;1;\n;;\n\ny;2\n")
    table = read_table(path)
    assert table[["image", "lesion"]].to_numpy().tolist() == [["x", "1"], ["y", "2"]]
    assert read_table(path, rows=1)["image"].tolist() == ["x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"PK\x03\x04\x14\x00\x06\x00", "it is no text"),
        (b"image,lesion,site\nx,1,left, arm\n", "line 2 has 4 cells under 3 columns; put a cell"),
    ],
)
def test_what_is_no_table_says_why(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_bytes(content)
    with pytest.raises(DermaError, match=rf"metadata\.csv: not a readable table \({message}"):
        read_table(path)


def test_ages_have_a_comma_where_cells_have_semicolons() -> None:
    assert as_age("52,5") == as_age("52.5") == 52.5
    assert as_age("n/a") is None
