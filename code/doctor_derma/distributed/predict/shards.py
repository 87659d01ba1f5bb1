"""The output: Parquet shards of predictions, one a block, whose names say which."""

import fcntl
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from doctor_derma.atomic import replacing_file
from doctor_derma.bundle import BundleInfo
from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE, Row

FOLDER = "predictions"
LOCK_FILE = ".lock"
_NAME = re.compile(r"unit-(\d{7})-block-(\d{6})(-last)?\.parquet")
_BEFORE = (("path", pa.string()), ("label", pa.string()), ("rule", pa.string()))
_AFTER = (
    ("prediction_set", pa.list_(pa.string())),
    ("abstention", pa.string()),
    ("unfamiliarity", pa.float32()),
    ("warnings", pa.list_(pa.string())),
    ("error", pa.string()),
)
# The columns that are what a prediction says, under its own names.
_SAID = ("label", "rule", "prediction_set", "abstention", "unfamiliarity", "warnings")


class Shards:
    """What is written of an output folder, and what is missing.

    A unit is whole when its last block is there and all before it.
    """

    def __init__(self, out: Path) -> None:
        self._folder = out / FOLDER
        self._blocks: dict[int, set[int]] = {}
        self._last: dict[int, int] = {}
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if found := _NAME.fullmatch(path.name):
                self._note(int(found[1]), int(found[2]), found[3] is not None)
            elif path.name.startswith("."):  # Left by a call that was killed.
                path.unlink()

    def __len__(self) -> int:
        return sum(map(len, self._blocks.values()))

    def done(self, unit: int) -> list[int]:
        """Return the blocks of a unit that are written."""
        return sorted(self._blocks.get(unit, ()))

    def last(self, unit: int) -> int | None:
        """Return which block of a unit is its last one, None where that isn't written."""
        return self._last.get(unit)

    def is_whole(self, unit: int) -> bool:
        """Say whether all blocks of a unit are written, up to its last one."""
        last = self.last(unit)
        return last is not None and len(self._blocks[unit]) == last + 1

    def missing(self, units: int) -> list[int]:
        """Return which of so many units are not whole."""
        return [number for number in range(units) if not self.is_whole(number)]

    def write(self, unit: int, block: int, last: bool, content: bytes) -> None:
        """Write a shard, which appears when it is whole."""
        name = f"unit-{unit:07}-block-{block:06}{'-last' if last else ''}.parquet"
        with replacing_file(self._folder / name) as scratch:
            scratch.write_bytes(content)
        self._note(unit, block, last)

    def _note(self, unit: int, block: int, last: bool) -> None:
        self._blocks.setdefault(unit, set()).add(block)
        if last:
            self._last[unit] = block


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Refuse other calls in an output folder, with a DermaError; a killed process lets go of it."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DermaError(f"{out}: another call is predicting into this folder") from error
        yield


def row_schema(info: BundleInfo) -> pa.Schema:
    """Return the columns, with the weights' SHA-256 and the notice as metadata.

    Raises a DermaError when a class is called like another column.
    """
    columns = [*_BEFORE, *((name, pa.float32()) for name in info.class_names), *_AFTER]
    names = [name for name, _ in columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DermaError(f"{info.name}: a class is called '{twice}', as another column is")
    about = {"notice": NOTICE, "model": info.name, "weights_sha256": info.weights.sha256}
    return pa.schema(columns, metadata=about)


def to_parquet(rows: Sequence[Row], schema: pa.Schema) -> bytes:
    """Return rows as a Parquet file; all but path and error of a bad picture are null."""
    table = pa.Table.from_pylist([_cells(row) for row in rows], schema=schema)
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _cells(row: Row) -> dict[str, object]:
    cells: dict[str, object] = {"path": row.path, "error": row.error}
    if row.prediction is None:
        return cells
    said = {name: getattr(row.prediction, name) for name in _SAID}
    return cells | row.prediction.probabilities | said
