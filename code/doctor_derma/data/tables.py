"""Metadata tables as people write them: read as text, checked by column, cleaned by cell."""

import csv
import io
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from doctor_derma.errors import DermaError


def read_table(path: Path, rows: int | None = None) -> pd.DataFrame:
    """Read a table of separated values, every cell as text.

    The separator is a comma, semicolon, tab or bar, whichever divides the first line most; the
    encoding is UTF-8, UTF-16 or, as older programs write, Windows' for western languages.

    Parameters
    ----------
    rows : read no more than so many

    Raises
    ------
    DermaError
        When the file is no such table.
    """
    try:
        text = _decode(path.read_bytes())
        first, _, rest = text.partition("\n")
        # Excel can be told the separator so, and leaves it in the file.
        if hint := re.fullmatch(r"sep=(.)\r?", first):
            text = rest
        table = _parse(text, hint[1] if hint else _separator(text), rows)
    except (ValueError, csv.Error, OSError) as error:
        reason = " ".join(str(error).split())
        raise DermaError(f"{path}: not a readable table ({reason}); save it as CSV") from error
    return table


def _parse(text: str, separator: str, most: int | None) -> pd.DataFrame:
    """Read cells as they are: none is taken for "missing" but an empty one, a class may be "NA"."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    filled = (cells for cells in lines if any(cell.strip() for cell in cells))
    columns = [name.strip() for name in next(filled, [])]
    if not columns:
        raise ValueError("it is empty")
    rows = []
    for cells in itertools.islice(filled, most):
        if any(cell.strip() for cell in cells[len(columns) :]):
            raise ValueError(
                f"line {lines.line_num} has {len(cells)} cells under {len(columns)} columns; "
                f"put a cell with a '{separator}' in it into quotes"
            )
        rows.append([*cells, *[""] * len(columns)][: len(columns)])
    return pd.DataFrame(rows, columns=columns, dtype=str)


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16")
    elif content[1:2] == b"\0":
        text = content.decode("utf-16-le")
    elif content[:1] == b"\0":
        text = content.decode("utf-16-be")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise ValueError("it is no text")
    return text


def _separator(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t|", key=lambda sign: len(next(csv.reader([first], delimiter=sign), [])))


def require_columns(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise a ``DermaError`` that names the first column that ``table`` lacks."""
    if missing := [name for name in columns if name not in table.columns]:
        raise DermaError(
            f"{path}: column '{missing[0]}' is missing (found {', '.join(table.columns)}); "
            f"the columns are {', '.join(columns)}"
        )


def as_text(cell: str) -> str | None:
    """Return a cell without blanks around it, or None where it is empty."""
    return cell.strip() or None


def as_age(cell: str) -> float | None:
    """Return years, or None where a cell is no number of years."""
    try:
        years = float(cell.replace(",", "."))
    except ValueError:
        return None
    return years if math.isfinite(years) and years >= 0 else None
