"""Sources to files: folders, patterns and object stores."""

from ftplib import FTP
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.ftp import FTPFileSystem

from distributed.predict.drawn import files
from doctor_derma.distributed.predict.uris import absolute, list_files
from doctor_derma.errors import DermaError
from doctor_derma.inference.sources import find_images


def test_a_folder_has_the_pictures_that_one_machine_finds(pictures: Path) -> None:
    (pictures / "0" / "notes.txt").write_text("no picture")
    (pictures / "0" / ".hidden.jpg").write_bytes(b"")
    found = list_files([str(pictures)])
    assert sorted(found) == sorted(map(str, find_images([str(pictures)]).images))


def test_shards_and_pictures_are_found_together_each_once(pictures: Path) -> None:
    for name in ("a.tar", "b.TAR.GZ", "c.tgz", "d.parquet", "e.json", ".f.tar"):
        (pictures / name).write_bytes(b"")
    found = list_files([str(pictures), f"{pictures}/*.tar", f"{pictures}/1/*.jpg"])
    shards = {Path(uri).name for uri in found if not uri.endswith(".jpg")}
    assert shards == {"a.tar", "b.TAR.GZ", "c.tgz", "d.parquet"}
    assert len(found) == len(set(found)) == 44


def test_a_named_file_is_kept_even_when_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "odd[1].jpg").write_bytes(b"")
    named = [f"{tmp_path}/missing.jpg", f"{tmp_path}/odd[1].jpg"]
    assert list_files(named) == named


def test_an_object_store_is_listed_as_a_folder_is(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for name in ("a.jpg", "deep/b.PNG", "c.tar", "deep/readme.txt", ".d.jpg"):
        store.pipe(f"/listing/{name}", b"")
    try:
        found = list_files(["memory://listing"])
        assert found == [f"memory:///listing/{name}" for name in ("a.jpg", "c.tar", "deep/b.PNG")]
        assert list_files(["memory://listing/*.jpg"]) == ["memory:///listing/a.jpg"]
        assert list_files(["memory://listing/a.jpg"]) == ["memory:///listing/a.jpg"]
        # A folder that a pattern matches is searched, and no file is there twice.
        assert list_files(["memory://listing/*"]) == found
        assert list_files(["memory://listing/deep/b.PNG", "memory://listing/**"]) == [
            found[2],
            *found[:2],
        ]
    finally:
        store.rm("/listing", recursive=True)


def test_the_host_of_an_address_is_that_of_the_files_below_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FTPFileSystem, "_connect", lambda system: setattr(system, "ftp", FTP()))
    monkeypatch.setattr(FTPFileSystem, "find", lambda system, path: [f"{path}/a.jpg"])
    named = "ftp://me@host:2121/deep/b.jpg"
    found = list_files([named, "ftp://me@host:2121/deep/"])
    assert found == [named, "ftp://me@host:2121/deep/a.jpg"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{folder}", "no pictures there"),
        ("{folder}/*.jpg", "no pictures there"),
        ("memory://nothing", "no pictures there"),
        ("nosuch://bucket/folder", "Protocol not known"),
    ],
)
def test_a_source_of_nothing_is_refused(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(DermaError, match=message):
        list_files([source.format(folder=tmp_path)])


def test_no_source_is_refused() -> None:
    with pytest.raises(DermaError, match="no picture named"):
        list_files([])


def test_uris_mean_the_same_elsewhere(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    assert absolute("0") == absolute(f"file://{pictures}/0") == f"{pictures}/0"
    assert absolute("s3://bucket/x") == "s3://bucket/x"
    assert list_files([absolute("0")]) == [str(path) for path in files(pictures / "0")]
