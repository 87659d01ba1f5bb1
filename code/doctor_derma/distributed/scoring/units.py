"""Units of work: some loose pictures, a tar shard, or some row groups of a Parquet file."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow.parquet as pq

from doctor_derma.distributed.scoring.places import file_system, is_parquet, is_tar

# Reading footers of Parquet files is waiting for the network.
FOOTERS_AT_A_TIME = 16


@dataclass(frozen=True)
class Unit:
    """What one task reads, in an order that is the same each time.

    Attributes
    ----------
    places : the pictures, or the one shard
    groups : the first row group and the one after the last; None for all, and for no Parquet
    first : number of the first row in the file
    pictures : how many there are; None where only reading the shard tells
    """

    kind: Literal["files", "tar", "parquet"]
    places: tuple[str, ...]
    groups: tuple[int, int] | None = None
    first: int = 0
    pictures: int | None = None

    def to_json(self) -> str:
        """Return the unit as ASCII, with file names that are not UTF-8 too."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Unit":
        fields = json.loads(text)
        groups = fields["groups"] and tuple(fields["groups"])
        return cls(**fields | {"places": tuple(fields["places"]), "groups": groups})


def make_units(files: Sequence[str], size: int) -> list[Unit]:
    """Divide files into units that hold each of their pictures once.

    Parameters
    ----------
    files : pictures and shards
    size : loose pictures in a unit; a unit of Parquet ends with the row group that reaches it
    """
    loose, units, tables = [], [], []
    for place in files:
        if is_tar(place):
            units.append(Unit("tar", (place,)))
        elif is_parquet(place):
            tables.append(place)
        else:
            loose.append(place)
    for start in range(0, len(loose), size):
        chunk = tuple(loose[start : start + size])
        units.append(Unit("files", chunk, pictures=len(chunk)))
    with ThreadPoolExecutor(FOOTERS_AT_A_TIME) as pool:
        for place, groups in zip(tables, pool.map(_group_rows, tables), strict=True):
            units += _parquet_units(place, groups, size)
    return units


def join_groups(rows: Sequence[int], size: int) -> Iterator[tuple[int, int, int, int]]:
    """Join neighbouring row groups until they hold ``size`` rows or there are no more.

    Yields
    ------
    first group, group after the last, number of the first row, number of rows
    """
    start, first, count = 0, 0, 0
    for group, more in enumerate(rows):
        count += more
        if count >= size or (count and group == len(rows) - 1):
            yield start, group + 1, first, count
            start, first, count = group + 1, first + count, 0


def _parquet_units(place: str, groups: list[int] | None, size: int) -> Iterator[Unit]:
    # A file that can't be read is one unit, whose task gives the reason.
    if not groups or not sum(groups):
        yield Unit("parquet", (place,))
        return
    for start, end, first, count in join_groups(groups, size):
        yield Unit("parquet", (place,), (start, end), first, count)


def _group_rows(place: str) -> list[int] | None:
    """Return the rows of each row group of a file; None when it can't be read."""
    try:
        system, path = file_system(place)
        with system.open(path, "rb") as stream:
            footer = pq.read_metadata(stream)
    # Neither Arrow's errors nor those of the object stores have a base class.
    except Exception:
        return None
    return [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
