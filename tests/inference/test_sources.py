"""find_images: files, folders and patterns."""

import os
from pathlib import Path

import pytest

from doctor_derma.errors import DermaError
from doctor_derma.inference.sources import find_images


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_is_searched_with_its_subfolders(pictures: Path) -> None:
    (pictures / "._a_red.png").write_bytes(b"left by another system")
    found = find_images([str(pictures)]).images
    assert names(found) == ["a_red.png", "b_green.JPG", "c_blue.png"]


def test_a_file_is_taken_whatever_its_name_and_even_when_missing(pictures: Path) -> None:
    missing = str(pictures / "missing.png")
    assert find_images([str(pictures / "notes.txt"), missing]).images == [
        pictures / "notes.txt",
        Path(missing),
    ]


def test_a_pattern_matches_files_and_searches_folders(pictures: Path) -> None:
    assert names(find_images([str(pictures / "*.png")]).images) == ["a_red.png"]
    assert names(find_images([str(pictures / "**" / "*.png")]).images) == [
        "a_red.png",
        "c_blue.png",
    ]
    assert names(find_images([str(pictures / "d*")]).images) == ["c_blue.png"]


def test_a_name_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    odd = tmp_path / "mole[1].png"
    odd.write_bytes(b"")
    assert find_images([str(odd)]).images == [odd]


def test_each_picture_comes_once_in_the_order_of_the_sources(pictures: Path) -> None:
    blue = pictures / "deep" / "c_blue.png"
    assert names(find_images([str(blue), str(pictures)]).images) == [
        "c_blue.png",
        "a_red.png",
        "b_green.JPG",
    ]


def test_sources_without_a_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"no pictures in this folder; it needs files in \.avif"):
        find_images([str(tmp_path)])
    with pytest.raises(DermaError, match=r"\*\.png: matches no picture"):
        find_images([str(tmp_path / "*.png")])
    with pytest.raises(DermaError, match="no picture named"):
        find_images([])


def test_a_tilde_before_nobody_s_name_is_part_of_it() -> None:
    assert find_images(["~lesion.jpg"]).images == [Path("~lesion.jpg")]


def test_an_impossible_name_is_left_to_the_decoder() -> None:
    assert find_images(["x" * 5000]).images == [Path("x" * 5000)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_a_folder_is_not_waited_for(pictures: Path) -> None:
    os.mkfifo(pictures / "pipe.jpg")
    assert pictures / "pipe.jpg" not in find_images([str(pictures)]).images


def test_every_file_of_a_folder_is_a_picture_or_counted(pictures: Path) -> None:
    whole = (pictures / "a_red.png").read_bytes()
    heic = b"\0\0\0\x18ftypheic" + bytes(600)
    contents = {
        "camera.jfif": whole,
        "no_suffix": whole,
        "phone.HEIC": heic,
        "phone_without_suffix": heic,
        "anything.gif": b"",
        "scan.dcm": bytes(128) + b"DICM",
        "Thumbs.db": b"\0" * 99,
        "table.csv": b"image,lesion\n",
        "other.csv": b"a;b\n",
        "report.pdf": b"%PDF-1.7",
        "odd": b"neither",
    }
    for name, content in contents.items():
        (pictures / "deep" / name).write_bytes(content)
    found = find_images([str(pictures / "deep")])
    assert names(found.images) == [
        *("anything.gif", "c_blue.png", "camera.jfif", "no_suffix", "phone.HEIC"),
        *("phone_without_suffix", "scan.dcm"),
    ]
    assert found.others == {".csv": 2, ".db": 1, ".pdf": 1, "no suffix": 1}


def test_links_in_a_folder_are_followed(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "a").symlink_to(pictures)
    (folder / "ring").symlink_to(folder)
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    expected = ["a_red.png", "b_green.JPG", "c_blue.png", "gone.jpg"]
    assert names(find_images([str(folder)]).images) == expected
    assert len(find_images([str(tmp_path / "link*")]).images) == 4


def test_a_folder_of_other_files_says_how_many(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DermaError, match=r"no pictures in this folder, it holds 1 other files; it"):
        find_images([str(tmp_path)])
