"""Swapping a whole data set into a folder that also holds other files."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from doctor_derma.data.manifest import DATASET_FILE, MANIFEST_FILE, REPORT_FILE
from doctor_derma.errors import DermaError

STAGING_FOLDER = ".import"
# The manifest leaves first and arrives last: where there is a manifest, all else is there.
PARTS = ("train", "test", REPORT_FILE, DATASET_FILE, MANIFEST_FILE)


@contextmanager
def staged_dataset(destination: Path) -> Iterator[Path]:
    """Give an empty folder whose data set replaces the one in ``destination`` at the end.

    The folder lies inside ``destination``, so the last step only renames. When the block
    raises, nothing but the folder itself was touched, and it goes. When the process is
    killed, the old data set stays; killed between two renames, it leaves no manifest, and
    the next import first finishes these renames.

    Raises
    ------
    DermaError
        When ``train/`` or ``test/`` holds files that no import wrote.
    """
    staging = destination / STAGING_FOLDER
    new, old = staging / "new", staging / "old"
    if old.exists():
        _move_in(new, destination, old)
    shutil.rmtree(staging, ignore_errors=True)
    _refuse_foreign_files(destination)
    new.mkdir(parents=True)
    try:
        yield new
        _swap(new, destination, old)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_foreign_files(destination: Path) -> None:
    manifest = destination / MANIFEST_FILE
    try:
        known = set(pd.read_csv(manifest, usecols=["path"], dtype=str)["path"])
    except (FileNotFoundError, ValueError):
        known = set()
    for part in ("train", "test"):
        for path in (destination / part).rglob("*"):
            relative = path.relative_to(destination).as_posix()
            if path.is_file() and not path.name.startswith(".") and relative not in known:
                raise DermaError(
                    f"{path}: no import wrote this file and an import would delete it; move "
                    f"{destination / part} elsewhere and import it from there"
                )


def _swap(new: Path, destination: Path, old: Path) -> None:
    old.mkdir()
    try:
        _move_in(new, destination, old)
    except OSError:
        for part in PARTS:
            if not (new / part).exists():
                (destination / part).replace(new / part)
            if (old / part).exists():
                (old / part).replace(destination / part)
        raise


def _move_in(new: Path, destination: Path, old: Path) -> None:
    """Do those of the renames that haven't been done."""
    for part in reversed(PARTS):
        if (new / part).exists() and (destination / part).exists():
            (destination / part).replace(old / part)
    for part in PARTS:
        if (new / part).exists():
            (new / part).replace(destination / part)
