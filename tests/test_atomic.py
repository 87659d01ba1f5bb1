"""Whatever goes wrong, there is the old or the new, and nothing beside it."""

from pathlib import Path

import pytest

from doctor_derma.atomic import replacing_file, replacing_folder, replacing_own_folder
from doctor_derma.errors import DermaError


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.csv"
    with replacing_file(path) as scratch:
        scratch.write_text("new")
        assert scratch.suffix == ".csv"
        assert scratch.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_file_stays_when_the_block_raises(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("old")

    def write() -> None:
        with replacing_file(path) as scratch:
            scratch.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing_file(tmp_path / "results.csv"):
        pass


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "bundle"
    with replacing_folder(path) as scratch:
        (scratch / "model").write_text("new")
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["model"]
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "leftover").write_text("old")
    with replacing_folder(path) as scratch:
        (scratch / "model").write_text("new")
        assert (path / "leftover").read_text() == "old"
    assert [file.name for file in path.iterdir()] == ["model"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_folder_stays_when_the_block_raises(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "model").write_text("old")

    def write() -> None:
        with replacing_folder(path) as scratch:
            (scratch / "model").write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert (path / "model").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_comes_back_when_the_swap_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "model").write_text("old")
    replace = Path.replace

    def refuse(source: Path, target: Path) -> Path:
        if target == path and not source.name.endswith("-old"):
            raise OSError(28, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space left"), replacing_folder(path) as scratch:
        (scratch / "model").write_text("new")
    assert (path / "model").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_the_kind_is_replaced_and_no_other(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "family.jpg").write_bytes(b"dear")
    with (
        pytest.raises(DermaError, match=r"photos: holds other files and no model\.json; name a"),
        replacing_own_folder(photos, "model.json"),
    ):
        pytest.fail("the folder was given")
    assert (photos / "family.jpg").read_bytes() == b"dear"
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "model.json").touch()
    (ours / "old").touch()
    for target in (ours, tmp_path / "new" / "one", tmp_path / "empty"):
        with replacing_own_folder(target, "model.json") as folder:
            (folder / "model.json").write_text("{}")
        assert [path.name for path in target.iterdir()] == ["model.json"]
    file = tmp_path / "file"
    file.write_text("mine")
    with (
        pytest.raises(DermaError, match="holds other files"),
        replacing_own_folder(file, "model.json"),
    ):
        pytest.fail("the file was replaced")


def test_a_kept_subfolder_stays_whatever_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "model"
    (target / "external" / "clinic").mkdir(parents=True)
    (target / "external" / "clinic" / "report.html").write_text("kept")
    for content in ("first", "second"):
        with replacing_own_folder(target, "metrics.json", keep="external") as folder:
            (folder / "metrics.json").write_text(content)
        assert (target / "metrics.json").read_text() == content
        assert (target / "external" / "clinic" / "report.html").read_text() == "kept"
    (target / "metrics.json").unlink()
    (target / "notes.txt").write_text("mine")
    with (
        pytest.raises(DermaError, match="holds other files"),
        replacing_own_folder(target, "metrics.json", keep="external"),
    ):
        pytest.fail("the folder was given")
