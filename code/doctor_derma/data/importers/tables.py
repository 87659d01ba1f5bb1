"""Tables as people write them: read as text, and matched to files however both are named."""

import codecs
import csv
import functools
import io
import itertools
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from doctor_derma.errors import DermaError
from doctor_derma.images.formats import FOREIGN_SUFFIXES, IMAGE_SUFFIXES

TEXT_SUFFIXES = (".csv", ".tsv", ".tab")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".txt", ".xlsx", ".parquet")
# Bytes of a row, where only so many rows are read.
_MOST_IN_ROW = 10_000
# Rows above the head of a table, such as a title and a legend.
_MOST_ABOVE = 30
_SEXES = {"f": "female", "m": "male", "w": "female"}
# Endings that a name may have or lack; ".2" in "lesion 1.2" is none.
_ENDINGS = IMAGE_SUFFIXES | FOREIGN_SUFFIXES


def read_table(path: Path, rows: int | None = None, *, head: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table, every cell as text: separated values, an Excel sheet or Parquet.

    The separator is a comma, semicolon, tab or bar, whichever divides the first line most; the
    encoding is UTF-8, UTF-16 or, as older programs write, Windows' for western languages. Of a
    workbook it is the first sheet.

    Parameters
    ----------
    rows : read no more than so many
    head : names of columns, one of which tells the head where lines stand above it; the first
        line that isn't empty is the head where none does

    Raises
    ------
    DermaError
        When the file is no such table.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _as_cells(pd.read_parquet(path).iloc[:rows])
        if path.suffix.lower() in (".xlsx", ".xlsm"):
            sheet = pd.read_excel(path, header=None, dtype=object, keep_default_na=False)
            return _table(enumerate(_as_cells(sheet).to_numpy().tolist(), 1), rows, head)
        text = _text(path, rows)
        first, _, rest = text.partition("\n")
        # Excel can be told the separator so, and leaves it in the file.
        if hint := re.fullmatch(r"sep=(.)\r?", first):
            text = rest
        separator = hint[1] if hint else _separator(text)
        # Else a quote that is never closed would swallow all rows after it.
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        return _table(((lines.line_num, cells) for cells in lines), rows, head, separator)
    except FileNotFoundError as error:
        raise DermaError(f"{path}: no such file; name a table") from error
    # A broken workbook is a BadZipFile or a KeyError, a broken Parquet an error of Arrow's own.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DermaError(f"{path}: not a readable table ({reason}); save it as CSV") from error


def _table(
    lines: Iterable[tuple[int, list[str]]],
    most: int | None,
    head: Sequence[str],
    separator: str = ",",
) -> pd.DataFrame:
    """Read cells as they are: none is taken for "missing" but an empty one, a class may be "NA"."""
    filled = ((number, cells) for number, cells in lines if any(map(str.strip, cells)))
    above = list(itertools.islice(filled, _MOST_ABOVE))
    if not above:
        raise ValueError("it is empty")
    wanted = {name.casefold() for name in head}
    told = [bool(wanted & {cell.strip().casefold() for cell in cells}) for _, cells in above]
    start = told.index(True) if any(told) else 0
    columns = [name.strip() for name in above[start][1]]
    rows = []
    for number, cells in itertools.islice(itertools.chain(above[start + 1 :], filled), most):
        if any(map(str.strip, cells[len(columns) :])):
            raise ValueError(
                f"line {number} has {len(cells)} cells under {len(columns)} columns; "
                f"put a cell with a '{separator}' in it into quotes"
            )
        rows.append([*cells, *[""] * len(columns)][: len(columns)])
    return pd.DataFrame(rows, columns=columns, dtype=str)


def _as_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Write each value as text; a column of whole numbers with gaps stands as fractions."""

    def text(value: Any) -> str:
        if pd.api.types.is_scalar(value) and pd.isna(value):
            return ""
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    return table.map(text).astype(str).rename(columns=str)


def _text(path: Path, rows: int | None) -> str:
    """Return all of a file, or whole lines of it that are enough for so many rows."""
    with path.open("rb") as file:
        content = file.read(-1 if rows is None else max(2**20, _MOST_IN_ROW * rows))
        whole = not file.read(1)
    encoding = "utf-8-sig"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in content[:2]:
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        # A letter that is cut off at the end counts only where the file ends there.
        text = codecs.getincrementaldecoder(encoding)().decode(content, whole)
    except UnicodeDecodeError:
        if encoding != "utf-8-sig":
            raise
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise ValueError("it is no text")
    # Lines may end in "\r" alone, as old Macs wrote them.
    return text if whole else text[: max(text.rfind("\n"), text.rfind("\r"))]


def _separator(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t|", key=lambda sign: len(next(csv.reader([first], delimiter=sign), [])))


def rows_of(table: pd.DataFrame) -> list[dict[str, str]]:
    """Return the rows of a table, each cell by its column and without blanks around it."""
    return [
        dict(zip(table.columns, map(str.strip, cells), strict=True))
        for cells in table.to_numpy().tolist()
    ]


def require_columns(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise a ``DermaError`` that names the first column that ``table`` lacks."""
    if missing := [name for name in columns if name not in table.columns]:
        raise DermaError(
            f"{path}: column '{missing[0]}' is missing (found {', '.join(table.columns)}); "
            f"the columns are {', '.join(columns)}"
        )


def as_age(cell: str) -> float | None:
    """Return years, or None where a cell is no number of years."""
    try:
        years = float(cell.replace(",", "."))
    except ValueError:
        return None
    return years if math.isfinite(years) and years >= 0 else None


def as_sex(cell: str) -> str | None:
    """Return ``female``, ``male`` or else a cell in small letters, or None where it is empty."""
    written = cell.strip().casefold()
    return _SEXES.get(written, written) or None


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
    names = [_name(name) for name in written]
    known = [_name(file) for file in files]
    by_stem: dict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(known):
        by_stem[name.stem].append(position)
    found = [
        _closest(name, [p for p in by_stem[name.stem] if _fits(name, known[p])], known)
        for name in names
    ]
    taken = {position for positions in found for position in positions}
    for index, name in enumerate(names):
        if not found[index]:
            others = [p for p in by_stem[name.stem] if p not in taken]
            found[index] = _closest(name, others, known)
        if len({known[position].folders for position in found[index]}) > 1:
            first, second = (files[position] for position in found[index][:2])
            raise DermaError(
                f"{table}: '{written[index]}' can be {first} or {second}; write its folder "
                "before it"
            )
    return found


def same_name(name: str) -> str:
    """Return what two writings of one file's name share, for names without folders."""
    return _name(name).stem


def shown(name: str) -> str:
    """Return the name of a file as text that can be written anywhere.

    Names on disk are bytes, and old ones are not in UTF-8: they are read as Windows wrote them.
    """
    encoded = name.encode("utf-8", "surrogateescape")
    try:
        text = encoded.decode("utf-8")
        # One name is kept once, not twice, however many there are.
        return name if text == name else text
    except UnicodeDecodeError:
        return encoded.decode("cp1252", "replace")


@functools.lru_cache(maxsize=2**17)
def _name(name: str) -> _Name:
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
    )
    return next((positions for positions in kept if positions), closest)


def _shared(name: _Name, file: _Name) -> int:
    return first_shared([name.folders[::-1], file.folders[::-1]])


def first_shared(paths: Iterable[Sequence[str]]) -> int:
    """Return how many of the first parts are the same in all paths."""
    levels = zip(*paths, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda parts: len(set(parts)) == 1, levels))
