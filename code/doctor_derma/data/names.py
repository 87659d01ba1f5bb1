"""Which file a table means: names are written in any way that people and programs write them.

With another slash, case or ending, without an ending, with folders before them that are not
there, or without those that are.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import IMAGE_SUFFIXES

# Endings that a name may have or lack; ".2" in "lesion 1.2" is none.
_ENDINGS = IMAGE_SUFFIXES | {".gif", ".heic", ".heif", ".avif", ".jp2", ".dcm", ".dng", ".raw"}


class _Name(NamedTuple):
    folders: tuple[str, ...]
    stem: str
    ending: str
    written: str


def match_names(table: Path, written: Sequence[str], files: Sequence[str]) -> list[list[int]]:
    """Return for each name in a table the positions of the files that it means.

    Those whose folders fit come first; then a name may mean a file with other folders that no
    other name means. One name means several files only where they differ in their ending.

    Parameters
    ----------
    table : named in errors
    written : n names, as they are in the table
    files : paths with ``/``, relative to what they all lie in

    Returns
    -------
    n lists, empty for a name without a file

    Raises
    ------
    DermaError
        When a name can mean files in several folders.
    """
    names = [_parse(name) for name in written]
    known = [_parse(file) for file in files]
    by_stem: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(known):
        by_stem[name.stem].append(position)
    found: list[list[int]] = []
    for name in names:
        fitting = [p for p in by_stem[name.stem] if _fits(name, known[p])]
        found.append(_closest(name, fitting, known))
    taken = {position for positions in found for position in positions}
    for index, name in enumerate(names):
        if not found[index]:
            others = [p for p in by_stem[name.stem] if p not in taken]
            found[index] = _closest(name, others, known)
    for index, positions in enumerate(found):
        if len({known[position].folders for position in positions}) > 1:
            first, second = (files[position] for position in positions[:2])
            raise DermaError(
                f"{table}: '{written[index]}' can be {first} or {second}; write its folder "
                "before it"
            )
    return found


def same_name(name: str) -> str:
    """Return what two writings of one file's name share, for names without folders."""
    return _parse(name).stem


def shown(name: str) -> str:
    """Return the name of a file as text that can be written anywhere.

    Names on disk are bytes, and old ones are not in UTF-8: they are read as Windows wrote them.
    """
    encoded = name.encode("utf-8", "surrogateescape")
    try:
        return encoded.decode("utf-8")
    except UnicodeDecodeError:
        return encoded.decode("cp1252", "replace")


def _parse(name: str) -> _Name:
    text = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    if parts and re.fullmatch("[A-Za-z]:", parts[0]):
        del parts[0]
    *folders, last = parts or [""]
    stem, dot, ending = last.casefold().rpartition(".")
    if not stem or f"{dot}{ending}" not in _ENDINGS:
        stem, dot, ending = last.casefold(), "", ""
    return _Name(tuple(folder.casefold() for folder in folders), stem, dot + ending, last)


def _fits(name: _Name, file: _Name) -> bool:
    """Say whether the folders of one are the last of the other's."""
    return _shared(name, file) == min(len(name.folders), len(file.folders))


def _closest(name: _Name, positions: list[int], known: Sequence[_Name]) -> list[int]:
    """Keep the files that share most folders, then those with the same ending, then pictures."""
    most = max((_shared(name, known[position]) for position in positions), default=0)
    closest = [position for position in positions if _shared(name, known[position]) == most]
    kept = (
        [position for position in closest if known[position].written == name.written],
        [position for position in closest if known[position].ending == name.ending != ""],
        [position for position in closest if known[position].ending in IMAGE_SUFFIXES],
        closest,
    )
    return next((positions for positions in kept if positions), [])


def _shared(name: _Name, file: _Name) -> int:
    """Return how many of the last folders are the same."""
    count = 0
    for one, other in zip(reversed(name.folders), reversed(file.folders), strict=False):
        if one != other:
            break
        count += 1
    return count
