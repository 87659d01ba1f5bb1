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
def replacing_own_folder(path: Path, marker: str) -> Iterator[Path]:
    """Do as ``replacing_folder``, but never in the place of someone else's files.

    Parameters
    ----------
    marker : name of a file that every folder of the kind holds

    Raises
    ------
    DermaError
        When ``path`` holds files but no ``marker``: replacing it would delete them.
    """
    path = path.expanduser().resolve()
    is_ours = (path / marker).is_file()
    if path.exists() and not is_ours and (not path.is_dir() or any(path.iterdir())):
        raise DermaError(f"{path}: holds other files and no {marker}; name a new or empty folder")
    with replacing_folder(path) as scratch:
        yield scratch
