"""Finds the table that says what each picture shows, where its folder doesn't.

So are the archives of ISIC 2018 (task 3) and PAD-UFES-20: folders named after parts of the
archive, and a table of diagnoses beside them.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from doctor_derma.data.importers.presets import usual_layout
from doctor_derma.data.importers.tables import TEXT_SUFFIXES, read_table, same_name
from doctor_derma.errors import DermaError

# Enough to see what a table is about.
_MOST_TABLES, _MOST_BYTES, _MOST_ROWS = 30, 100_000_000, 20_000
# Goodman and Kruskal's lambda from which folders are taken for classes.
_AGREEMENT = 0.5


class LabelTable(NamedTuple):
    """A table and the column, or the columns of 0 and 1, that say what a picture shows."""

    path: Path
    columns: str


def contradicting_labels(
    source: Path,
    pictures: Sequence[PurePosixPath],
    folders: Sequence[str],
    files: Sequence[PurePosixPath],
) -> LabelTable | None:
    """Return a table in a folder, or beside it, that labels its pictures otherwise.

    Folders may be coarser or finer than the labels: where one tells the other, nothing is
    returned.

    Parameters
    ----------
    pictures : n of the files
    folders : n names of what would be their classes
    files : all files below ``source``
    """
    places = pd.Series(folders, index=[same_name(path.name) for path in pictures])
    places = places[~places.index.duplicated()]
    for table in _tables(source, files):
        try:
            rows = read_table(table, _MOST_ROWS)
        except DermaError:
            continue
        labels = _labels(rows, places)
        if labels is not None and not _agree(labels, places):
            return LabelTable(table, str(labels.name))
    return None


def _tables(source: Path, files: Sequence[PurePosixPath]) -> list[Path]:
    below = [source / path for path in files if path.suffix.lower() in TEXT_SUFFIXES]
    here = [path for path in source.iterdir() if path.suffix.lower() in TEXT_SUFFIXES]
    try:
        beside = [path for path in source.parent.iterdir() if path.suffix.lower() in TEXT_SUFFIXES]
    except OSError:
        beside = []
    found = dict.fromkeys([*sorted(here), *below, *sorted(beside)])
    whole = (path for path in found if path.is_file() and path.stat().st_size <= _MOST_BYTES)
    return list(whole)[:_MOST_TABLES]


def _labels(rows: pd.DataFrame, places: pd.Series) -> pd.Series | None:
    """Return the label of each picture, named after its column; None where the table has none."""
    if rows.empty or rows.columns.duplicated().any():
        return None
    first = rows.head(200)
    known = {name: first[name].map(same_name).isin(places.index).mean() for name in rows.columns}
    pictures = max(known, key=lambda name: known[name])
    labels = _written(rows)
    if labels is None:
        labels = _one_of_many(rows)
    if labels is None or known[pictures] < 0.5:
        return None
    labels.index = pd.Index(rows[pictures].map(same_name))
    return labels[~labels.index.duplicated()]


def _written(rows: pd.DataFrame) -> pd.Series | None:
    for column in rows.columns:
        if column.casefold() in usual_layout().label.split("|") and rows[column].nunique() > 1:
            return rows[column].str.strip().str.casefold()
    return None


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
