"""Units of work: some loose pictures, a tar shard, or some row groups of a Parquet file."""

import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from doctor_derma.distributed.predict.uris import (
    file_system,
    is_picture,
    is_remote,
    is_shard,
    is_tar,
    printable,
)
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import ImageSource, UnreadableImage

# Reading footers of Parquet files is waiting for the network.
FOOTERS_AT_A_TIME = 16
# An encoded picture is in memory whole.
MAX_BYTES = 200_000_000
IMAGE_COLUMN, PATH_COLUMN = "image", "path"
# Rows of Parquet in memory at a time, beside the row group itself.
ROWS = 64
_DAMAGED = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Unit:
    """What one task reads, in an order that is the same each time.

    Attributes
    ----------
    uris : the pictures, or the one shard
    groups : the first row group and the one after the last; None for all, and for no Parquet
    first : number of the first row in the file
    pictures : how many there are; None where only reading the shard tells
    """

    kind: Literal["files", "tar", "parquet"]
    uris: tuple[str, ...]
    groups: tuple[int, int] | None = None
    first: int = 0
    pictures: int | None = None


class Found(NamedTuple):
    """A picture that is not read yet.

    Attributes
    ----------
    path : what its row is called
    load : gives what a decoder takes, or raises UnreadableImage; to be called, if at all,
        before the next picture is asked for
    """

    path: str
    load: Callable[[], ImageSource]


def make_units(files: Sequence[str], size: int) -> list[Unit]:
    """Divide files into units that hold each of their pictures once.

    Parameters
    ----------
    files : pictures and shards
    size : loose pictures in a unit; a unit of Parquet ends with the row group that reaches it
    """
    units = [Unit("tar", (uri,)) for uri in files if is_tar(uri)]
    tables = [uri for uri in files if is_shard(uri) and not is_tar(uri)]
    loose = [uri for uri in files if not is_shard(uri)]
    for start in range(0, len(loose), size):
        chunk = tuple(loose[start : start + size])
        units.append(Unit("files", chunk, pictures=len(chunk)))
    with ThreadPoolExecutor(FOOTERS_AT_A_TIME) as pool:
        for uri, rows in zip(tables, pool.map(_group_rows, tables), strict=True):
            # A file that can't be read is one unit, whose task gives the reason.
            runs = [Unit("parquet", (uri,), *run) for run in join_groups(rows, size)]
            units += runs or [Unit("parquet", (uri,))]
    return units


def join_groups(rows: Sequence[int], size: int) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Join neighbouring row groups until they hold ``size`` rows or there are no more.

    Yields
    ------
    first group and group after the last, number of the first row, number of rows
    """
    start, first, count = 0, 0, 0
    for group, more in enumerate(rows):
        count += more
        if count >= size or (count and group == len(rows) - 1):
            yield (start, group + 1), first, count
            start, first, count = group + 1, first + count, 0


def _group_rows(uri: str) -> list[int]:
    """Return the rows of each row group of a file; none when it can't be read."""
    try:
        system, path = file_system(uri)
        with system.open(path, "rb") as stream:
            footer = pq.read_metadata(stream)
    # Neither Arrow's errors nor those of the object stores have a base class.
    except Exception:
        return []
    return [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]


def find_pictures(unit: Unit) -> Iterator[Found]:
    """Go through the pictures of a unit, in the same order each time.

    Raises whatever its file format or object store does for a shard that can't be read.
    """
    if unit.kind == "files":
        for uri in unit.uris:
            yield Found(printable(uri), partial(_load_file, uri))
    else:
        (shard,) = unit.uris
        yield from _tar(shard) if unit.kind == "tar" else _parquet(shard, unit)


def _load_file(uri: str) -> ImageSource:
    if not is_remote(uri):
        return Path(uri)
    try:
        system, path = file_system(uri)
        with system.open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UnreadableImage("no such file") from error
    except PermissionError as error:
        raise UnreadableImage("no permission to read it") from error
    except DermaError:
        raise
    # What the object stores raise has no base class.
    except Exception as error:
        raise UnreadableImage(f"can't be read ({error or type(error).__name__})") from error
    _check_size(len(data))
    return data


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableImage(f"more than {MAX_BYTES // 1_000_000} MB, scale it down")


class _Member(tarfile.TarInfo):
    """A member of an archive, whose header is whole.

    A TarFile takes a damaged header, but for the first one, for the end of the archive.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(archive)
        except tarfile.EmptyHeaderError as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError("no end mark, as of an archive that is cut off") from error
        except _DAMAGED as error:
            raise tarfile.ReadError(f"damaged archive, {error}") from error


def _tar(shard: str) -> Iterator[Found]:
    system, path = file_system(shard)
    # A stream: read once from its start to its end, compressed or not.
    with (
        system.open(path, "rb") as stream,
        tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Member) as archive,
    ):
        for member in archive:
            # The archive keeps what it has seen, which of a large one is much.
            archive.members = []  # type: ignore[attr-defined]
            if not member.isdir() and is_picture(member.name):
                name = printable(f"{shard}/{member.name}")
                yield Found(name, partial(_load_member, archive, member))


def _load_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isfile():
        raise UnreadableImage("a link in an archive, not a picture")
    _check_size(member.size)
    stream = archive.extractfile(member)
    assert stream is not None
    data = stream.read()
    if len(data) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _parquet(shard: str, unit: Unit) -> Iterator[Found]:
    system, path = file_system(shard)
    with system.open(path, "rb") as stream, pq.ParquetFile(stream) as table:
        columns = _columns(table.schema_arrow)
        groups = range(*unit.groups) if unit.groups else range(table.num_row_groups)
        batches = table.iter_batches(ROWS, row_groups=list(groups), columns=columns)
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, start=unit.first):
            image = row[IMAGE_COLUMN]
            struct = image if isinstance(image, dict) else {"bytes": image}
            path = row.get(PATH_COLUMN) or struct.get("path") or printable(f"{shard}#{number}")
            yield Found(str(path), partial(_load_bytes, struct["bytes"]))


def _columns(schema: pa.Schema) -> list[str]:
    kind = schema.field(IMAGE_COLUMN).type if IMAGE_COLUMN in schema.names else pa.null()
    if pa.types.is_struct(kind) and "bytes" in kind.names:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DermaError(
            f"no column '{IMAGE_COLUMN}' with the bytes of pictures, or structs of 'bytes' and "
            f"'path'; its columns are {', '.join(schema.names)}"
        )
    return [name for name in (IMAGE_COLUMN, PATH_COLUMN) if name in schema.names]


def _load_bytes(data: bytes | None) -> bytes:
    if data is None:
        raise UnreadableImage("no bytes in this row")
    _check_size(len(data))
    return data
