"""Splits, classes and parts of an archive are told apart by how people name their folders."""

import os
from pathlib import Path

import numpy as np
import pytest

from data.pictures import class_folders, encoded, picture, write
from doctor_derma.data.importers.folder import read_folder
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo
from doctor_derma.data.splits import split_in, split_named
from doctor_derma.errors import DermaError
from doctor_derma.images.walking import files_below

INFO = DatasetInfo("folder", "test", "none", 0)


def splits_of(source: Path) -> set[tuple[str | None, str | None]]:
    return {(image.split, image.dx) for image in read_folder(source)}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", None, "Test"),
        ("Training", None, "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("train_set", "val_set", "test_set"),
        ("train", "valid", "test"),
        ("train", "validation", "test"),
        ("TrainingData", "ValidationData", "TestData"),
        ("training-images", "dev images", "test.imgs"),
        ("1_train", "2_valid", "3_test"),
        ("dataset train", "dataset val", "dataset test"),
    ],
)
def test_splits_in_any_spelling(train: str, val: str | None, test: str, tmp_path: Path) -> None:
    names = {"train": train, "val": val, "test": test}
    folders = {name: split for split, name in names.items() if name}
    class_folders(tmp_path, {f"{name}/{dx}": 2 for name in folders for dx in ("mel", "nv")})
    expected = {(split, dx) for split in folders.values() for dx in ("mel", "nv")}
    assert splits_of(tmp_path) == expected


@pytest.mark.parametrize(
    "name", ["melanoma", "nv", "trained", "contest", "valve", "testis", "attest", "traineeship"]
)
def test_other_words_are_no_splits(name: str) -> None:
    assert split_named(name) is None
    assert split_in(name) is None


def test_two_folders_of_one_split_and_one_of_none_are_named(tmp_path: Path) -> None:
    class_folders(tmp_path, {"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1})
    class_folders(tmp_path, {"Training/a": 1})
    with pytest.raises(DermaError, match="Training/ and train/ are both train; put them together"):
        read_folder(tmp_path)
    (tmp_path / "Training").rename(tmp_path / "holdout")
    with pytest.raises(DermaError, match=r"holdout/ has class folders as .*call it train, val or"):
        read_folder(tmp_path)
    # Something else beside them is reported picture by picture, as before.
    (tmp_path / "holdout" / "a").rename(tmp_path / "holdout" / "sketches")
    assert (None, None) in splits_of(tmp_path)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            ("set/Train/mel", "set/Train/nv", "set/Test/mel"),
            r"set/ would be a class, but holds only folders of pictures \('Test', 'Train'\).*/set$",
        ),
        (("mel/train", "mel/test", "nv/train"), "mel/ would be a class, but holds only folders"),
        (("images/mel", "images/nv"), r"holds only folders of pictures \('mel', 'nv'\)"),
        (
            ("train/images/mel", "train/images/nv", "test/images/mel"),
            "images/ would be a class, but holds only folders",
        ),
        (("train", "test"), "no class folders with images, 'test', 'train' hold none"),
        (
            ("ISIC_Training_Input", "ISIC_Test_Input"),
            "'ISIC_Test_Input', 'ISIC_Training_Input' would be the classes, but are named like",
        ),
    ],
)
def test_folders_that_are_no_classes_stop_the_import(
    parts: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    class_folders(tmp_path, dict.fromkeys(parts, 3))
    with pytest.raises(DermaError, match=message) as caught:
        read_folder(tmp_path)
    assert "lay the images out as train/<class>/" in str(caught.value)


def archive_of_parts(root: Path, table: str) -> list[str]:
    """Write 24 pictures into two folders that say nothing, as archives do; return their names."""
    names = [f"ISIC_{number:07d}" for number in range(24)]
    for number, name in enumerate(names):
        part = f"imgs_part_{number % 2 + 1}"
        write(root / part / f"{name}.jpg", encoded(picture(number)))
    rows = [f"{name}.jpg,{'MEL' if number % 3 else 'NEV'}" for number, name in enumerate(names)]
    (root / table).parent.mkdir(parents=True, exist_ok=True)
    (root / table).write_text("\n".join(["img_id,diagnostic", *rows]) + "\n")
    return names


@pytest.mark.parametrize("table", ["metadata.csv", "../metadata.csv", "truth/labels.tsv"])
def test_a_table_of_labels_beside_pictures_is_seen(table: str, tmp_path: Path) -> None:
    """PAD-UFES-20, also where its folder of pictures is named."""
    archive_of_parts(tmp_path / "images", table)
    message = r"'imgs_part_1', 'imgs_part_2' would be the classes, but .* says in diagnostic what"
    with pytest.raises(DermaError, match=message):
        read_folder(tmp_path / "images")


def test_a_table_of_ones_and_zeros_beside_pictures_is_seen(tmp_path: Path) -> None:
    """ISIC 2018, task 3."""
    names = archive_of_parts(tmp_path, "other.txt")
    rows = [
        f"{name},{n % 3 == 0:.1f},{n % 3 == 1:.1f},{n % 3 == 2:.1f}" for n, name in enumerate(names)
    ]
    truth = tmp_path / "GroundTruth" / "GroundTruth.csv"
    truth.parent.mkdir()
    truth.write_text("\n".join(["image,MEL,NV,BCC", *rows]))
    with pytest.raises(DermaError, match=r"GroundTruth\.csv says in MEL, NV, BCC what a picture"):
        read_folder(tmp_path)


def test_one_folder_of_pictures_with_a_table_says_where_the_labels_are(tmp_path: Path) -> None:
    names = archive_of_parts(tmp_path, "labels.csv")
    for name in names:
        for path in tmp_path.rglob(f"{name}.jpg"):
            path.rename(tmp_path / path.name)
    with pytest.raises(DermaError, match=r"labels\.csv says in diagnostic"):
        read_folder(tmp_path)


@pytest.mark.parametrize("folders", ["same", "coarser", "finer"])
def test_a_table_that_says_what_the_folders_say_is_no_matter(folders: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = []
    for number in range(40):
        label = str(generator.choice(["mel", "nv", "bkl"]))
        folder = {
            "same": label,
            "coarser": "malignant" if label == "mel" else "benign",
            "finer": f"{label}_{number % 2}",
        }[folders]
        write(tmp_path / folder / f"x{number}.jpg", encoded(picture(number)))
        rows.append(f"x{number},L{number},{label},{number % 2}")
    table = "\n".join(["image,lesion,dx,sex", *rows])
    (tmp_path / "metadata.csv").write_text(table)
    assert len(read_folder(tmp_path)) == 40


def test_linked_class_folders_are_followed(tmp_path: Path) -> None:
    class_folders(tmp_path / "elsewhere", {"mel": 4, "nv": 4})
    source = tmp_path / "source"
    (source / "nv").mkdir(parents=True)
    (source / "mel").symlink_to(tmp_path / "elsewhere" / "mel")
    for path in (tmp_path / "elsewhere" / "nv").iterdir():
        (source / "nv" / path.name).symlink_to(path)
    images = read_folder(source)
    assert sorted(image.dx or "" for image in images) == ["mel"] * 4 + ["nv"] * 4
    assert import_images(images, INFO, tmp_path / "data").kept == 8

    # The folder itself may be a link, too.
    (tmp_path / "link").symlink_to(source)
    assert len(read_folder(tmp_path / "link")) == 8


def test_rings_of_links_end(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "round").symlink_to(tmp_path / "b" / "round")
    (tmp_path / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert len([path for path in found if path.endswith(".jpg")]) == 7
    # What leads nowhere is not left out without a word.
    summary = import_images(read_folder(tmp_path), INFO, tmp_path.parent / "data-of-rings")
    assert summary.kept == 6
    assert {report.image for report in summary.reported} == {"gone", "round"}


def test_a_folder_that_can_not_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    listing = Path.iterdir

    def refuse(path: Path):
        if path.name == "b":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DermaError, match=r"b: can't be listed \(Permission denied\)"):
        files_below(tmp_path)


def test_names_that_are_no_utf_8_are_imported(tmp_path: Path) -> None:
    source = tmp_path / "source"
    class_folders(source, {"nv": 4})
    for number in range(6):
        name = os.fsdecode(b"m\xe9lanome/gr\xfc\xdf%d.jpg" % number)
        write(source / name, encoded(picture(100 + number)))
    rows = [f"grüß{number}.jpg,L{number // 2}" for number in range(6)]
    rows += [f"nv_{number},N{number}" for number in range(4)]
    (source / "metadata.csv").write_text("\n".join(["image,lesion", *rows]), encoding="cp1252")
    summary = import_images(read_folder(source), INFO, tmp_path / "data", val=0.3, test=0.3)
    table = summary.table[summary.table["class"] == "mélanome"]
    assert sorted(table["image"]) == [f"grüß{number}" for number in range(6)]
    assert table["lesion"].nunique() == 3
