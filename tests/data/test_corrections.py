import csv
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.pictures import sources
from doctor_derma.data.corrections import (
    apply_corrections,
    planned_corrections,
    read_corrections,
    undone_corrections,
)
from doctor_derma.data.importers import importing
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import Dataset, DatasetInfo, read_dataset
from doctor_derma.errors import DermaError

INFO = DatasetInfo("small", "made here", "none", seed=0)
IMAGES = {"mel": 8, "nv": 8}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    import_again(folder)
    return folder


def import_again(folder: Path) -> None:
    import_images(sources(IMAGES), INFO, folder, val=0.2, test=0.2)


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def correct(file: Path, folder: Path) -> Dataset:
    dataset = read_dataset(folder)
    return apply_corrections(planned_corrections(file, dataset), dataset)


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def of_class(data: Path, dx: str, split: str = "train") -> pd.DataFrame:
    table = read_dataset(data).table
    return table[(table["class"] == dx) & (table["split"] == split)]


def test_files_manifest_and_record_say_what_was_done(data: Path, tmp_path: Path) -> None:
    before, pictures = read_dataset(data), files(data)
    moved, gone = of_class(data, "mel").iloc[0], of_class(data, "nv").iloc[0]
    file = write(
        tmp_path / "check.csv",
        [
            {"path": moved["path"], "problem": "label", "action": " relabel:nv "},
            {"path": gone["path"], "problem": "blurred", "action": "drop"},
            {"path": of_class(data, "nv").iloc[1]["path"], "problem": "dark", "action": ""},
        ],
    )
    after = correct(file, data)

    name = Path(moved["path"]).name
    row = after.table.set_index("image").loc[moved["image"]]
    assert (row["class"], row["path"], row["split"]) == ("nv", f"train/nv/{name}", "train")
    assert gone["image"] not in set(after.table["image"])
    assert len(after.table) == len(before.table) - 1
    assert after.fingerprint != before.fingerprint

    there = files(data)
    assert there[f"train/nv/{name}"] == pictures[moved["path"]]
    assert there[f"dropped/{Path(gone['path']).name}"] == pictures[gone["path"]]
    listed = {path for path in there if path.startswith(("train/", "test/"))}
    assert listed == set(after.table["path"])

    record = read_corrections(data)
    assert [(one.image, one.label, one.action) for one in record] == [
        (moved["image"], "mel", "relabel:nv"),
        (gone["image"], "nv", "drop"),
    ]
    assert {one.file for one in record} == {"check.csv"}
    assert {one.fingerprint for one in record} == {before.fingerprint}
    assert record[0].applied.endswith("+00:00")
    assert undone_corrections(after) == 0


def test_the_record_does_it_again_after_a_fresh_import(data: Path, tmp_path: Path) -> None:
    first, second = of_class(data, "mel").iloc[0], of_class(data, "nv").iloc[0]
    one = write(tmp_path / "1.csv", [{"path": first["path"], "action": "relabel:nv"}])
    correct(one, data)
    new_place = first["path"].replace("/mel/", "/nv/")
    two = [{"path": new_place, "action": "drop"}, {"path": second["path"], "action": "relabel:mel"}]
    corrected = correct(write(tmp_path / "2.csv", two), data)

    import_again(data)
    fresh = read_dataset(data)
    assert first["image"] in set(fresh.table["image"])
    assert undone_corrections(fresh) == 2
    again = correct(data / "corrections.csv", data)
    assert again.fingerprint == corrected.fingerprint
    assert undone_corrections(again) == 0
    # Nothing is left to do, and dropped pictures are kept once.
    assert planned_corrections(data / "corrections.csv", again) == []
    assert len([path for path in files(data) if path.startswith("dropped/")]) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"path": "train/nv/none.jpg", "action": "drop"}, "no image of the manifest has this path"),
        ({"action": "delete"}, "unknown action 'delete'; write drop, relabel:CLASS or nothing"),
        ({"action": "relabel:wart"}, "unknown class 'wart'; the classes are mel, nv"),
        ({"action": "relabel:"}, "unknown class ''"),
    ],
)
def test_what_is_not_known_is_refused(
    data: Path, tmp_path: Path, row: dict[str, str], message: str
) -> None:
    before, path = files(data), of_class(data, "mel").iloc[0]["path"]
    good = of_class(data, "nv").iloc[0]["path"]
    file = write(
        tmp_path / "check.csv",
        [{"path": good, "action": "drop"}, {"path": path, "action": ""} | row],
    )
    with pytest.raises(DermaError, match=message) as error:
        correct(file, data)
    assert str(error.value).startswith(f"{file}: ")
    assert files(data) == before


def test_two_wishes_for_one_image_are_refused(data: Path, tmp_path: Path) -> None:
    path = of_class(data, "mel").iloc[0]["path"]
    rows = [{"path": path, "action": "drop"}, {"path": path, "action": "relabel:nv"}]
    with pytest.raises(DermaError, match="both drop and relabel:nv are asked for"):
        correct(write(tmp_path / "check.csv", rows), data)
    assert (
        len(planned_corrections(write(tmp_path / "twice.csv", rows[:1] * 2), read_dataset(data)))
        == 1
    )


def test_a_file_that_was_applied_is_recognised(data: Path, tmp_path: Path) -> None:
    path = of_class(data, "mel").iloc[0]["path"]
    file = write(tmp_path / "check.csv", [{"path": path, "action": "drop"}])
    correct(file, data)
    with pytest.raises(DermaError, match=r"no longer there, as check\.csv asked for 'drop' at 20"):
        correct(file, data)


@pytest.mark.parametrize("action", ["drop", "relabel:nv"])
def test_no_class_may_lose_its_last_image_of_a_split(
    data: Path, tmp_path: Path, action: str
) -> None:
    rows = [{"path": path, "action": action} for path in of_class(data, "mel", "test")["path"]]
    with pytest.raises(DermaError, match="after these corrections class 'mel' has no usable image"):
        correct(write(tmp_path / "check.csv", rows), data)
    every = read_dataset(data).table
    rows = [{"path": p, "action": action} for p in every.loc[every["class"] == "mel", "path"]]
    with pytest.raises(DermaError, match="fewer than two classes"):
        correct(write(tmp_path / "check.csv", rows), data)


def test_a_table_without_actions_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DermaError, match="no such file"):
        correct(tmp_path / "none.csv", data)
    with pytest.raises(DermaError, match="column 'action' is missing"):
        correct(write(tmp_path / "check.csv", [{"path": "x"}]), data)


def test_names_that_meet_in_one_folder_are_told_apart(data: Path, tmp_path: Path) -> None:
    first, taken = of_class(data, "mel").iloc[0]["path"], of_class(data, "nv").iloc[0]["path"]
    # Another image already has that name there, in capitals.
    clash = Path(taken).with_name(Path(first).name.upper()).as_posix()
    dataset = read_dataset(data)
    (data / taken).rename(data / clash)
    dataset.table.loc[dataset.table["path"] == taken, "path"] = clash
    dataset.table.to_csv(data / "manifest.csv", index=False)

    after = correct(write(tmp_path / "check.csv", [{"path": first, "action": "relabel:nv"}]), data)
    assert after.table["path"].str.lower().is_unique
    assert all((data / path).is_file() for path in after.table["path"])


def test_a_correction_that_ends_halfway_changes_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = of_class(data, "mel").iloc[0]["path"]
    correct(write(tmp_path / "1.csv", [{"path": path, "action": "drop"}]), data)
    before = files(data)
    file = write(
        tmp_path / "2.csv", [{"path": of_class(data, "nv").iloc[0]["path"], "action": "drop"}]
    )
    real = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if self.name == "manifest.csv" and self.parent.name == "new":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DermaError, match="can't be written"):
        correct(file, data)
    monkeypatch.undo()
    assert files(data) == before


def test_a_file_system_without_links_gets_copies(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    path = of_class(data, "mel").iloc[0]["path"]
    after = correct(write(tmp_path / "1.csv", [{"path": path, "action": "drop"}]), data)
    assert all((data / path).is_file() for path in after.table["path"])


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    actions=st.lists(
        st.sampled_from(["", "drop", "relabel:mel", "relabel:nv"]), min_size=16, max_size=16
    )
)
def test_any_file_is_done_whole_or_not_at_all(
    data: Path, tmp_path: Path, actions: list[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(data, copy)
    dataset, before = read_dataset(copy), files(copy)
    rows = [
        {"path": path, "action": action}
        for path, action in zip(dataset.table["path"], actions, strict=True)
    ]
    wanted = {
        image: dx if not action.startswith("relabel:") else action[8:]
        for image, dx, action in zip(
            dataset.table["image"], dataset.table["class"], actions, strict=True
        )
        if action != "drop"
    }
    try:
        after = correct(write(tmp_path / "check.csv", rows), copy)
    except DermaError:
        assert files(copy) == before
        return
    assert dict(zip(after.table["image"], after.table["class"], strict=True)) == wanted
    for path, dx in zip(after.table["path"], after.table["class"], strict=True):
        assert path.split("/")[1] == dx
        assert (copy / path).is_file()


def test_a_spreadsheets_semicolons_are_read(data: Path, tmp_path: Path) -> None:
    path = of_class(data, "mel").iloc[0]["path"]
    stream = io.StringIO()
    csv.writer(stream, delimiter=";").writerows([["path", "action"], [path, "drop"]])
    (tmp_path / "check.csv").write_text(stream.getvalue(), encoding="utf-8-sig")
    [one] = planned_corrections(tmp_path / "check.csv", read_dataset(data))
    assert (one.path, one.drops) == (path, True)


def test_an_import_ends_a_correction_that_was_killed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = of_class(data, "mel").iloc[0]["path"]
    file = write(tmp_path / "1.csv", [{"path": path, "action": "drop"}])
    real, killed = Path.replace, False

    class Killed(BaseException):
        pass

    def kill(self: Path, target: Path) -> Path:
        nonlocal killed
        # What a killed process leaves: from then on it renames nothing, back neither.
        killed = killed or (self.name == "manifest.csv" and self.parent.name == "new")
        if killed:
            raise Killed
        return real(self, target)

    monkeypatch.setattr(Path, "replace", kill)
    with pytest.raises(Killed):
        correct(file, data)
    monkeypatch.undo()
    assert not (data / "manifest.csv").exists()
    importing.end_renames(data)
    assert path not in set(read_dataset(data).table["path"])
    assert [one.action for one in read_corrections(data)] == ["drop"]
