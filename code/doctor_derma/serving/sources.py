"""Files, folders and patterns on the command line to a list of pictures."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from doctor_derma.data.decoding import IMAGE_SUFFIXES
from doctor_derma.errors import DermaError


def find_images(sources: Sequence[str]) -> list[Path]:
    """Return the pictures that the sources name, each once, in their order.

    Parameters
    ----------
    sources : each a file, a folder (searched with its subfolders for the suffixes of
        ``IMAGE_SUFFIXES``, hidden files left out) or a pattern such as ``photos/*.jpg``;
        a named file is kept even when it doesn't exist, so that it gets a row with its error

    Raises
    ------
    DermaError
        When there is no source, or a folder or pattern matches nothing.
    """
    if not sources:
        raise DermaError("no picture named; give files, folders or patterns")
    found: dict[Path, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_matches(source)))
    return list(found)


def _matches(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if _is_folder(path):
        if images := _in_folder(path):
            return images
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DermaError(f"{source}: no pictures in this folder; it needs files in {suffixes}")
    if os.path.lexists(path) or not glob.has_magic(source):
        return [path]
    images = []
    # Path.glob takes no absolute pattern.
    for match in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207
        images += _in_folder(Path(match)) if _is_folder(Path(match)) else [Path(match)]
    if not images:
        raise DermaError(f"{source}: matches no picture; check the pattern")
    return images


def _in_folder(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        # Nobody may ever write to a pipe that lies there.
        and not path.is_fifo()
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # A name too long or out of reach; decoding it gives the reason.
        return False
