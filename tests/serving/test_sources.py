"""find_images: files, folders and patterns."""

import os
from pathlib import Path

import pytest

from doctor_derma.errors import DermaError
from doctor_derma.serving.predict import find_images


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_is_searched_with_its_subfolders(pictures: Path) -> None:
    (pictures / "._a_red.png").write_bytes(b"left by another system")
    found = find_images([str(pictures)])
    assert names(found) == ["a_red.png", "b_green.JPG", "c_blue.png"]


def test_a_file_is_taken_whatever_its_name_and_even_when_missing(pictures: Path) -> None:
    missing = str(pictures / "missing.png")
    assert find_images([str(pictures / "notes.txt"), missing]) == [
        pictures / "notes.txt",
        Path(missing),
    ]


def test_a_pattern_matches_files_and_searches_folders(pictures: Path) -> None:
    assert names(find_images([str(pictures / "*.png")])) == ["a_red.png"]
    assert names(find_images([str(pictures / "**" / "*.png")])) == ["a_red.png", "c_blue.png"]
    assert names(find_images([str(pictures / "d*")])) == ["c_blue.png"]


def test_a_name_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    odd = tmp_path / "mole[1].png"
    odd.write_bytes(b"")
    assert find_images([str(odd)]) == [odd]


def test_each_picture_comes_once_in_the_order_of_the_sources(pictures: Path) -> None:
    blue = pictures / "deep" / "c_blue.png"
    assert names(find_images([str(blue), str(pictures)])) == [
        "c_blue.png",
        "a_red.png",
        "b_green.JPG",
    ]


def test_sources_without_a_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"no pictures in this folder; it needs files in \.bmp"):
        find_images([str(tmp_path)])
    with pytest.raises(DermaError, match=r"\*\.png: matches no picture"):
        find_images([str(tmp_path / "*.png")])
    with pytest.raises(DermaError, match="no picture named"):
        find_images([])


def test_an_impossible_name_is_left_to_the_decoder() -> None:
    assert find_images(["x" * 5000]) == [Path("x" * 5000)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_a_folder_is_not_waited_for(pictures: Path) -> None:
    os.mkfifo(pictures / "pipe.jpg")
    assert pictures / "pipe.jpg" not in find_images([str(pictures)])
