"""Writing beside and renaming, so that nothing is ever left half-written."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from doctor_derma.errors import DermaError


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a scratch path beside ``path`` that takes its place when the block ends well.

    The scratch name keeps the suffix of ``path``. When the block raises, the scratch
    file goes and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    old = scratch.with_name(scratch.name + "-old")
    scratch.mkdir()
    try:
        yield scratch
        if path.exists():
            path.replace(old)
        scratch.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def replacing_own_folder(path: Path, marker: str, keep: str | None = None) -> Iterator[Path]:
    """Do as ``replacing_folder``, but never in the place of someone else's files.

    Parameters
    ----------
    marker : name of a file that every folder of the kind holds
    keep : name of a subfolder that stays as it is

    Raises
    ------
    DermaError
        When ``path`` holds files but no ``marker``: replacing it would delete them.
    """
    path = path.expanduser().resolve()
    is_ours = (path / marker).is_file()
    is_empty = path.is_dir() and all(inside.name == keep for inside in path.iterdir())
    if path.exists() and not is_ours and not is_empty:
        raise DermaError(f"{path}: holds other files and no {marker}; name a new or empty folder")
    with replacing_folder(path) as scratch:
        yield scratch
        if keep and (path / keep).is_dir():
            shutil.copytree(path / keep, scratch / keep)
