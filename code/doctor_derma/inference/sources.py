"""Files, folders and patterns on the command line to a list of pictures."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from doctor_derma.errors import DermaError
from doctor_derma.images.formats import IMAGE_SUFFIXES
from doctor_derma.images.walking import files_below, is_picture


class Found(NamedTuple):
    """Pictures, each once, and the other files of the folders that were searched.

    Attributes
    ----------
    others : how many there are by suffix, such as ``{".csv": 2}``
    """

    images: list[Path]
    others: dict[str, int]


def find_images(sources: Sequence[str]) -> Found:
    """Return the pictures that the sources name, each once, in their order.

    Parameters
    ----------
    sources : each a file, a folder (searched with its subfolders, through links, for all that
        is a picture by its suffix or first bytes, whether it can be read or not, but for hidden
        files) or a pattern such as ``photos/*.jpg``; a named file is kept even when it doesn't
        exist, so that it gets a row with its error

    Raises
    ------
    DermaError
        When there is no source, or a folder or pattern matches nothing.
    """
    if not sources:
        raise DermaError("no picture named; give files, folders or patterns")
    found: dict[Path, None] = {}
    others: Counter[str] = Counter()
    for source in sources:
        images, rest = _matches(source)
        found.update(dict.fromkeys(images))
        others.update(path.suffix.lower() or "no suffix" for path in rest)
    return Found(list(found), dict(others.most_common()))


def _matches(source: str) -> tuple[list[Path], list[Path]]:
    """Return the pictures of a source, and the other files of its folders."""
    own = source == "~" or source.startswith(f"~{os.sep}")
    # A file may be called as nobody's home is, such as ~lesion.jpg, which Path.expanduser refuses.
    path = Path(source).expanduser() if own else Path(os.path.expanduser(source))  # noqa: PTH111
    images: list[Path] = []
    others: list[Path] = []
    if _is_folder(path):
        images, others = _in_folder(path)
        if images:
            return images, others
        held = f", it holds {len(others):,} other files" if others else ""
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DermaError(
            f"{source}: no pictures in this folder{held}; it needs files in {suffixes}"
        )
    if os.path.lexists(path) or not glob.has_magic(source):
        return [path], []
    # Path.glob takes no absolute pattern.
    for match in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207
        inside, rest = _in_folder(Path(match)) if _is_folder(Path(match)) else ([Path(match)], [])
        images += inside
        others += rest
    if not images:
        raise DermaError(f"{source}: matches no picture; check the pattern")
    return images, others


def _in_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    images: list[Path] = []
    others: list[Path] = []
    for path in files_below(folder):
        (images if is_picture(path) else others).append(path)
    return images, others


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # A name too long or out of reach; decoding it gives the reason.
        return False
