"""The manifest comes back as it was written, and every fault has a sentence."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from doctor_derma.data.manifest import (
    COLUMNS,
    SPLITS,
    DatasetInfo,
    read_dataset,
    write_dataset,
)
from doctor_derma.errors import DermaError

INFO = DatasetInfo("made", "by hand", "CC0", 3)


def table(classes: tuple[str, ...] = ("nv", "mel"), splits: tuple[str, ...] = SPLITS):
    rows = []
    for split in splits:
        for dx in classes:
            name = f"{dx}_{split}"
            known: dict[str, Any] = {"age": 40.0, "sex": "male", "site": "back"}
            if dx == "mel":
                known = dict.fromkeys(known)
            rows.append(
                {
                    "image": name,
                    "lesion": f"{name}_lesion",
                    "class": dx,
                    "split": split,
                    **known,
                    "source": "" if dx == "mel" else "clinic 007",
                    "width": 60,
                    "height": 45,
                    "sha256": "0" * 64,
                    "path": f"train/{dx}/{name}.jpg",
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(tmp_path, INFO, table())
    return tmp_path


def test_what_was_written_comes_back(folder: Path) -> None:
    dataset = read_dataset(folder)
    assert dataset.info == INFO
    assert dataset.classes == ("mel", "nv")
    pd.testing.assert_frame_equal(dataset.table, table(), check_dtype=False)
    val = dataset.split("val")
    assert list(val["image"]) == ["nv_val", "mel_val"]
    assert list(val.index) == [0, 1]
    assert dataset.targets(val) == [1, 0]
    assert pd.isna(val["age"][1])


def test_names_that_look_like_something_else_stay_text(tmp_path: Path) -> None:
    rows = table(("NA", "007"))
    rows["image"] = [f"{number:03d}" for number in range(len(rows))]
    rows["lesion"] = ["null", "nan", "1e5", "True", "", "01"]
    write_dataset(tmp_path, INFO, rows)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("007", "NA")
    for column in ("image", "lesion", "class", "path"):
        assert list(dataset.table[column]) == list(rows[column])


def test_the_fingerprint_is_that_of_the_content(folder: Path, tmp_path: Path) -> None:
    first = read_dataset(folder).fingerprint
    write_dataset(tmp_path / "copy", INFO, table())
    assert read_dataset(tmp_path / "copy").fingerprint == first
    changed = table()
    changed.loc[0, "age"] = 41.0
    write_dataset(folder, INFO, changed)
    assert read_dataset(folder).fingerprint != first


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "source"])
def test_a_missing_column_is_named(column: str, folder: Path) -> None:
    table().drop(columns=column).to_csv(folder / "manifest.csv", index=False)
    with pytest.raises(DermaError, match=f"'{column}'.* import the data again") as caught:
        read_dataset(folder)
    assert "\n" not in str(caught.value)


def test_a_manifest_from_before_sources_is_read_as_it_is(folder: Path) -> None:
    old = table().drop(columns="source")
    old.to_csv(folder / "manifest.csv", index=False)
    dataset = read_dataset(folder)
    assert list(dataset.table["source"]) == [""] * len(old)
    assert dataset.fingerprint == hashlib.sha256((folder / "manifest.csv").read_bytes()).hexdigest()


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_split_is_named(split: str, folder: Path) -> None:
    rest = tuple(name for name in SPLITS if name != split)
    write_dataset(folder, INFO, table(splits=rest))
    with pytest.raises(DermaError, match=rf"manifest\.csv: no image in the {split} split; import"):
        read_dataset(folder)


def test_an_unknown_split_is_named(folder: Path) -> None:
    write_dataset(folder, INFO, table(splits=(*SPLITS, "holdout")))
    with pytest.raises(DermaError, match="unknown split 'holdout'; use train, val, test"):
        read_dataset(folder)


def test_one_class_is_no_classification(folder: Path) -> None:
    write_dataset(folder, INFO, table(("nv",)))
    with pytest.raises(DermaError, match="1 class; a classifier needs at least two"):
        read_dataset(folder)


def test_no_data_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match=r"manifest\.csv: no data set here; run 'derma data impo"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("manifest.csv", b""),
        ("manifest.csv", b"\xff\xfe\x00"),
        ("manifest.csv", b'image,"lesion\n1,2,3\n4'),
        ("manifest.csv", b"a,b\n1,2,3,4\n1,2,3,4,5\n"),
        ("dataset.json", b"{"),
        ("dataset.json", b"[1, 2]"),
        ("dataset.json", b'{"name": "x"}'),
        ("dataset.json", b'{"name": "x", "source": "", "licence": "", "seed": 0, "more": 1}'),
    ],
)
def test_damage_is_one_sentence(file: str, content: bytes, folder: Path) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(DermaError, match=r"manifest\.csv: .*import the data again") as caught:
        read_dataset(folder)
    assert "\n" not in str(caught.value)


def test_without_its_description(folder: Path) -> None:
    (folder / "dataset.json").unlink()
    with pytest.raises(DermaError, match=r"can't be read .*dataset\.json.*; import the data again"):
        read_dataset(folder)
