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
    """Pictures, each once, and how many others the folders hold by suffix: ``{".csv": 2}``."""

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
    is_folder = _is_folder(path)
    if not is_folder and (os.path.lexists(path) or not glob.has_magic(source)):
        return [path], []
    # Path.glob takes no absolute pattern.
    matches = [str(path)] if is_folder else sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
    images: list[Path] = []
    others: list[Path] = []
    for match in map(Path, matches):
        if not _is_folder(match):
            images.append(match)
            continue
        for file in files_below(match):
            (images if is_picture(file) else others).append(file)
    if images:
        return images, others
    if not is_folder:
        raise DermaError(f"{source}: matches no picture; check the pattern")
    held = f", it holds {len(others):,} other files" if others else ""
    suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
    raise DermaError(f"{source}: no pictures in this folder{held}; it needs files in {suffixes}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # A name too long or out of reach; decoding it gives the reason.
        return False
