"""The parts of the output: one Parquet file a block, whose name says which."""

import fcntl
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from doctor_derma.atomic import replacing_file
from doctor_derma.distributed.scoring.units import Unit
from doctor_derma.errors import DermaError

FOLDER = "predictions"
LOCK_FILE = ".lock"
_NAME = re.compile(r"unit-(\d{7})-block-(\d{6})(-last)?\.parquet")


class Parts:
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

    def is_whole(self, unit: int) -> bool:
        last = self._last.get(unit)
        return last is not None and len(self._blocks[unit]) == last + 1

    def missing(self, units: Sequence[Unit]) -> list[int]:
        """Return the numbers of the units that are not whole."""
        return [number for number in range(len(units)) if not self.is_whole(number)]

    def write(self, unit: int, block: int, last: bool, part: bytes) -> None:
        """Write a part, which appears when it is whole."""
        name = f"unit-{unit:07}-block-{block:06}{'-last' if last else ''}.parquet"
        with replacing_file(self._folder / name) as scratch:
            scratch.write_bytes(part)
        self._note(unit, block, last)

    def _note(self, unit: int, block: int, last: bool) -> None:
        self._blocks.setdefault(unit, set()).add(block)
        if last:
            self._last[unit] = block


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other calls out of an output folder; a killed process lets go of it.

    Raises
    ------
    DermaError
        When another call is at it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DermaError(f"{out}: another call is scoring into this folder") from error
        yield
