"""Tables as people write them, and the pictures that their rows mean however names are written."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor_derma.data.importers.tables import as_age, match_names, read_table, same_name, shown
from doctor_derma.errors import DermaError

TABLE = Path("metadata.csv")
FILES = ["mel/ISIC_1.jpg", "mel/ISIC_2.jpg", "nv/ISIC_3.jpg", "nv/Übung 4.JPG"]
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_the_first_rows_of_a_long_table_are_those_of_all(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    rows = "".join(f"Übung_{number},{'ä' * 40}\n" for number in range(40_000))
    path.write_bytes(f"image,note\n{rows}".encode(encoding))
    table = read_table(path, rows=3)
    assert table.to_numpy().tolist() == [[f"Übung_{number}", "ä" * 40] for number in range(3)]


def test_the_lines_of_a_long_table_may_end_as_old_macs_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_bytes(b"image,note\r" + b"x,some words\r" * 100_000)
    assert read_table(path, rows=3).to_numpy().tolist() == [["x", "some words"]] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"PK\x03\x04\x14\x00\x06\x00", "it is no text"),
        (b"image,lesion,site\nx,1,left, arm\n", "line 2 has 4 cells under 3 columns; put a cell"),
        (b'image,label\nx,"mel\ny,nv\nz,nv\n', "unexpected end of data"),
    ],
)
def test_what_is_no_table_says_why(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_bytes(content)
    with pytest.raises(DermaError, match=rf"metadata\.csv: not a readable table \({message}"):
        read_table(path)


def test_a_class_of_a_sheet_may_look_like_a_missing_value(tmp_path: Path) -> None:
    rows = [["x", "NA"], ["y", None], ["z", "None"]]
    pd.DataFrame(rows, columns=["image", "label"]).to_excel(tmp_path / "x.xlsx", index=False)
    assert read_table(tmp_path / "x.xlsx").to_numpy().tolist() == [
        *(["x", "NA"], ["y", ""], ["z", "None"])
    ]


def test_ages_have_a_comma_where_cells_have_semicolons() -> None:
    assert as_age("52,5") == as_age("52.5") == 52.5
    assert as_age("n/a") is None


@pytest.mark.parametrize(
    "written",
    [
        "mel/ISIC_2.jpg",
        "ISIC_2.jpg",
        "ISIC_2",
        "isic_2.JPG",
        "ISIC_2.jpeg",
        "ISIC_2.png",
        "mel\\ISIC_2.jpg",
        ".\\mel\\ISIC_2.jpg",
        "./mel/ISIC_2.jpg",
        "/home/me/data/mel/ISIC_2.jpg",
        "C:\\data\\mel\\ISIC_2.jpg",
        "images/ISIC_2.jpg",
        "dataset/mel/ISIC_2.jpg",
        "../mel/ISIC_2",
        "  ISIC_2.jpg ",
        "MEL/isic_2",
    ],
)
def test_a_name_in_any_writing(written: str) -> None:
    assert match_names(TABLE, [written], FILES) == [[1]]


def test_letters_may_be_composed_or_not() -> None:
    assert match_names(TABLE, ["U\u0308bung 4.jpg"], FILES) == [[3]]


@pytest.mark.parametrize("written", ["", "ISIC_9.jpg", "ISIC", "ISIC_2.jpg.txt", "mel/", "2"])
def test_a_name_without_a_file(written: str) -> None:
    assert match_names(TABLE, [written], FILES) == [[]]


def test_folders_tell_files_of_one_name_apart() -> None:
    files = ["train/mel/1.jpg", "train/nv/1.jpg", "test/mel/2.jpg"]
    assert match_names(TABLE, ["mel/1", "data/train/nv/1.jpg", "2"], files) == [[0], [1], [2]]
    with pytest.raises(
        DermaError, match=r"metadata\.csv: '1' can be train/mel/1\.jpg or train/nv/"
    ):
        match_names(TABLE, ["1"], files)
    # A picture that is gone is not taken for another that has a row.
    assert match_names(TABLE, ["mel/1", "nv/1", "nv/2", "mel/2"], files) == [[0], [1], [], [2]]


def test_copies_in_other_formats_are_one_name() -> None:
    files = ["a/1.jpg", "a/1.png", "a/1.txt", "a/2.JPG", "a/2.jpg"]
    assert match_names(TABLE, ["1", "1.png", "2.jpg"], files) == [[0, 1], [1], [4]]


@given(st.lists(st.text(max_size=12), max_size=6), st.lists(st.text(max_size=12), max_size=6))
def test_any_text_is_a_name(written: list[str], files: list[str]) -> None:
    try:
        found = match_names(TABLE, written, files)
    except DermaError:
        return
    assert len(found) == len(written)
    for name, positions in zip(written, found, strict=True):
        assert all(same_name(files[position]) == same_name(name) for position in positions)


def test_bytes_that_are_no_utf_8_are_shown_as_what_they_were_meant() -> None:
    assert shown("plain ü") == "plain ü"
    assert shown("gr\udcfc\udcdf.jpg") == "grüß.jpg"
    assert shown("\udc81").isprintable() or shown("\udc81") == "\ufffd"
