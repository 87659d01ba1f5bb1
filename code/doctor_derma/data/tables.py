"""Metadata tables as people write them: read as text, checked by column, cleaned by cell."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from doctor_derma.errors import DermaError


def read_table(path: Path) -> pd.DataFrame:
    """Read a comma- or (``.tab``, ``.tsv``) tab-separated table, every cell as text.

    Raises
    ------
    DermaError
        When the file is not a table in UTF-8.
    """
    separator = "\t" if path.suffix in (".tab", ".tsv") else ","
    try:
        # No cell is taken for "missing" but an empty one: a class may be called "NA".
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DermaError(f"{path}: not a readable table ({reason}); save it as CSV") from error
    return table.rename(columns=lambda name: str(name).strip())


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
        years = float(cell)
    except ValueError:
        return None
    return years if math.isfinite(years) and years >= 0 else None
