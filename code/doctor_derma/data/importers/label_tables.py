"""Finds the table that says what each picture shows, where its folder doesn't.

So are the archives of ISIC 2018 (task 3) and PAD-UFES-20: folders named after parts of the
archive, and a table of diagnoses beside them.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath

import pandas as pd

from doctor_derma.data.importers.presets import usual_layout
from doctor_derma.data.importers.tables import TEXT_SUFFIXES, read_table, same_name
from doctor_derma.errors import DermaError

# Enough to see what a table is about.
_MOST_TABLES, _MOST_BYTES, _MOST_ROWS = 30, 100_000_000, 20_000
# Goodman and Kruskal's lambda from which folders are taken for classes.
_AGREEMENT = 0.5


def contradicting_labels(
    source: Path, folders: Mapping[PurePosixPath, str], files: Iterable[PurePosixPath]
) -> tuple[Path, str] | None:
    """Return a table in a folder, or beside it, that labels its pictures otherwise.

    Folders may be coarser or finer than the labels: where one tells the other, nothing is
    returned.

    Parameters
    ----------
    folders : picture to the name of what would be its class
    files : all files below ``source``

    Returns
    -------
    the table, and its column, or columns of 0 and 1, that say what a picture shows
    """
    places = pd.Series(list(folders.values()), index=[same_name(path.name) for path in folders])
    places = places[~places.index.duplicated()]
    for table in _tables(source, files):
        try:
            rows = read_table(table, _MOST_ROWS)
        except DermaError:
            continue
        labels = _labels(rows, places)
        if labels is not None and not _agree(labels, places):
            return table, str(labels.name)
    return None


def _tables(source: Path, files: Iterable[PurePosixPath]) -> list[Path]:
    try:
        beside = sorted(source.parent.iterdir())
    except OSError:
        beside = []
    # Of many pictures no paths are made.
    below = (source / path for path in files if path.suffix.lower() in TEXT_SUFFIXES)
    found = dict.fromkeys([*sorted(source.iterdir()), *below, *beside])
    tables = (path for path in found if path.suffix.lower() in TEXT_SUFFIXES)
    whole = (path for path in tables if path.is_file() and path.stat().st_size <= _MOST_BYTES)
    return list(islice(whole, _MOST_TABLES))


def _labels(rows: pd.DataFrame, places: pd.Series) -> pd.Series | None:
    """Return the label of each picture, named after its column; None where the table has none."""
    if rows.empty or rows.columns.duplicated().any():
        return None
    known = rows.head(200).apply(lambda cells: cells.map(same_name).isin(places.index).mean())
    usual = [name for name in rows.columns if name.casefold() in usual_layout().label.split("|")]
    telling = [name for name in usual if rows[name].nunique() > 1]
    labels = rows[telling[0]].str.strip().str.casefold() if telling else _one_of_many(rows)
    if labels is None or known.max() < 0.5:
        return None
    labels.index = pd.Index(rows[known.idxmax()].map(same_name))
    return labels[~labels.index.duplicated()]


def _one_of_many(rows: pd.DataFrame) -> pd.Series | None:
    """Read columns of 0 and 1, one a class, as in ISIC's tables of the truth."""
    values = rows.apply(pd.to_numeric, errors="coerce")
    marks = values.loc[:, values.isin([0, 1]).all()]
    if marks.shape[1] < 2 or not (marks.sum(axis=1) == 1).all():
        return None
    return marks.idxmax(axis=1).rename(", ".join(map(str, marks.columns)))


def _agree(labels: pd.Series, places: pd.Series) -> bool:
    counts = pd.crosstab(labels, places.reindex(labels.index).rename("folder"))
    if counts.shape[0] < 2:
        return True
    return counts.shape[1] > 1 and max(_lambda(counts), _lambda(counts.T)) >= _AGREEMENT


def _lambda(counts: pd.DataFrame) -> float:
    """Return how much of the doubt about the columns goes when the rows are known."""
    total, guessed = counts.to_numpy().sum(), counts.sum(axis=0).max()
    return float((counts.max(axis=1).sum() - guessed) / (total - guessed))
