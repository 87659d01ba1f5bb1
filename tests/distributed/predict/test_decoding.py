"""Units to blocks of decoded pictures, from anywhere, without Ray."""

import io
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
import pytest

from distributed.predict.drawn import encoded, write_parquet, write_tar
from doctor_derma.bundle import BundleInfo, read_info
from doctor_derma.distributed.predict import units
from doctor_derma.distributed.predict.stages import Decoded, Work, decode_unit
from doctor_derma.distributed.predict.units import Unit, make_units
from doctor_derma.inference.classifier import Classifier

MEMBERS = [(f"deep/p{seed}.jpg", encoded(seed)) for seed in range(10)]


@pytest.fixture(scope="module")
def info(bundle: Path) -> BundleInfo:
    return read_info(bundle)


def blocks(
    unit: Unit,
    info: BundleInfo,
    block: int = 4,
    done: tuple[int, ...] = (),
    last: int | None = None,
) -> Iterator[dict[str, Any]]:
    return decode_unit(Work(5, unit, done, last).row(), info, block)


def decoded(unit: Unit, info: BundleInfo) -> list[Decoded]:
    return [one for row in blocks(unit, info) for one in pickle.loads(row["pictures"])]


def shape(rows: Iterator[dict[str, Any]]) -> list[tuple[int, bool, int, str]]:
    return [
        (row["block"], row["last"], len(pickle.loads(row["pictures"])), row["failure"])
        for row in rows
    ]


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (1, [(0, True, 1, "")]),
        (4, [(0, True, 4, "")]),
        (5, [(0, False, 4, ""), (1, True, 1, "")]),
        (8, [(0, False, 4, ""), (1, True, 4, "")]),
    ],
)
def test_the_last_block_is_known(
    tmp_path: Path, info: BundleInfo, count: int, wanted: list[tuple[int, bool, int, str]]
) -> None:
    shard = write_tar(tmp_path / "a.tar", MEMBERS[:count])
    assert shape(blocks(Unit("tar", (str(shard),)), info)) == wanted


def test_blocks_that_are_done_are_not_decoded(
    tmp_path: Path, info: BundleInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tarfile.TarInfo] = []

    def extract(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
        read.append(member)
        return extractfile(archive, member)

    extractfile = tarfile.TarFile.extractfile
    monkeypatch.setattr(tarfile.TarFile, "extractfile", extract)
    unit = Unit("tar", (str(write_tar(tmp_path / "a.tar", MEMBERS)),))
    assert shape(blocks(unit, info, done=(0, 2), last=2)) == [(1, False, 4, "")]
    assert len(read) == 4
    assert shape(blocks(unit, info, done=(1,))) == [(0, False, 4, ""), (2, True, 2, "")]


@pytest.mark.parametrize(
    ("done", "last", "before"),
    [
        ((0, 1), None, []),  # the block that now is the last was not
        ((0, 3), None, []),
        ((2,), 2, [(0, False, 4, "")]),
    ],
)
def test_a_shard_that_has_fewer_pictures_than_before_is_a_failure(
    tmp_path: Path, info: BundleInfo, done: tuple[int, ...], last: int | None, before: list[Any]
) -> None:
    unit = Unit("tar", (str(write_tar(tmp_path / "a.tar", MEMBERS[:6])),))
    *found, (block, is_last, pictures, reason) = shape(blocks(unit, info, done=done, last=last))
    assert found == before
    assert (block, is_last, pictures) == (-1, False, 0)
    assert reason.startswith("has 6 pictures, fewer than when its first rows were written; bring")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_broken_shard_never_ends_with_a_short_block(
    tmp_path: Path, info: BundleInfo, mode: str
) -> None:
    shard = write_tar(tmp_path / "a.tar", MEMBERS, mode)
    whole = shard.read_bytes()
    shard.write_bytes(whole[: int(len(whole) * 0.62)])
    rows = shape(blocks(Unit("tar", (str(shard),)), info))
    assert rows[0] == (0, False, 4, "")
    assert [row[:3] for row in rows[1:]] == [(-1, False, 0)]
    assert "after" in rows[-1][3]


def test_a_damaged_or_missing_end_is_not_taken_for_one(tmp_path: Path, info: BundleInfo) -> None:
    shard = write_tar(tmp_path / "a.tar", MEMBERS)
    whole = shard.read_bytes()
    with tarfile.open(shard) as archive:
        header = archive.getmembers()[6].offset
        end = archive.offset
    shard.write_bytes(whole[:header] + b"x" * 512 + whole[header + 512 :])
    damaged = shape(blocks(Unit("tar", (str(shard),)), info))
    assert damaged == [
        (0, False, 4, ""),
        (-1, False, 0, "damaged archive, invalid header, after 6 pictures"),
    ]
    shard.write_bytes(whole[:end].rstrip(b"\0"))
    *_, cut = shape(blocks(Unit("tar", (str(shard),)), info))
    assert "after" in cut[3]
    shard.write_bytes(whole[: archive.members[7].offset])
    assert "no end mark" in shape(blocks(Unit("tar", (str(shard),)), info))[-1][3]


def test_what_is_no_picture_in_an_archive(tmp_path: Path, info: BundleInfo) -> None:
    shard = tmp_path / "a.tar"
    with tarfile.open(shard, "w") as archive:
        for name in ("a.jpg", "a.json", ".hidden.jpg", "empty.png"):
            member = tarfile.TarInfo(name)
            data = encoded(1) if name == "a.jpg" else b""
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = decoded(Unit("tar", (str(shard),)), info)
    assert [(one.path, one.error) for one in found] == [
        (f"{shard}/a.jpg", None),
        (f"{shard}/empty.png", "empty file"),
        (f"{shard}/link.jpg", "a link in an archive, not a picture"),
    ]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.tar", b"no archive" * 100, "damaged archive"),
        ("a.tar", None, "No such file"),
        ("a.parquet", b"no Parquet", "Parquet"),
        ("a.parquet", {"picture": [b""]}, "no column 'image'.*its columns are picture"),
        ("a.parquet", {"image": [1]}, "no column 'image'"),
        ("a.parquet", {"image": [b""][:0]}, "no column 'image'|no pictures in it"),
    ],
)
def test_a_shard_that_is_none_is_a_failure(
    tmp_path: Path, info: BundleInfo, name: str, data: Any, reason: str
) -> None:
    path = tmp_path / name
    if isinstance(data, dict):
        write_parquet(path, data)
    elif data is not None:
        path.write_bytes(data)
    (unit,) = make_units([str(path)], 10)
    (row,) = blocks(unit, info)
    assert row["block"] == -1
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(row["failure"])


def test_pictures_in_parquet_have_their_own_paths_or_their_number(
    tmp_path: Path, info: BundleInfo
) -> None:
    data = [encoded(seed) for seed in range(3)]
    structs = [{"bytes": data[0], "path": "own.jpg"}, {"bytes": None, "path": "none.jpg"}, None]
    plain = write_parquet(tmp_path / "a.parquet", {"image": data, "path": ["x", None, "z"]})
    nested = write_parquet(tmp_path / "b.parquet", {"image": structs})
    (first, second) = make_units([str(plain), str(nested)], 10)
    assert [one.path for one in decoded(first, info)] == ["x", f"{plain}#1", "z"]
    assert [(one.path, one.error) for one in decoded(second, info)] == [
        ("own.jpg", None),
        ("none.jpg", "no bytes in this row"),
        (f"{nested}#2", "no bytes in this row"),
    ]


def test_an_object_store_gives_the_pixels_that_a_disk_gives(
    tmp_path: Path, info: BundleInfo, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "MAX_BYTES", 50_000)
    store = fsspec.filesystem("memory")
    local = {
        "p.jpg": encoded(1),
        "a.tar": write_tar(tmp_path / "a.tar", MEMBERS[2:4]).read_bytes(),
        "b.parquet": write_parquet(tmp_path / "b.parquet", {"image": [encoded(4)]}).read_bytes(),
        "large.jpg": bytes(50_001),
    }
    try:
        for name, data in local.items():
            store.pipe(f"/decoding/{name}", data)
        uris = [f"memory:///decoding/{name}" for name in [*local, "missing.jpg"]]
        found = {one.path: one for unit in make_units(uris, 10) for one in decoded(unit, info)}
    finally:
        store.rm("/decoding", recursive=True)
    errors = {path.rpartition("/")[2]: one.error for path, one in found.items() if one.error}
    assert errors == {"large.jpg": "more than 0 MB, scale it down", "missing.jpg": "no such file"}
    good = {path: one.picture for path, one in found.items() if one.picture}
    seeds = {"p.jpg": 1, "a.tar/deep/p2.jpg": 2, "a.tar/deep/p3.jpg": 3, "b.parquet#0": 4}
    assert {path.removeprefix("memory:///decoding/") for path in good} == set(seeds)
    for name, seed in seeds.items():
        wanted = classifier.read(encoded(seed))
        picture = good[f"memory:///decoding/{name}"]
        assert (picture.pixels == wanted.pixels).all()
        assert picture.warnings == wanted.warnings
