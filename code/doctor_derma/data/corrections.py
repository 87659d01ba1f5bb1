"""Corrections of a data set: images that are left out or get another class, and the record of them.

A file of corrections is a CSV with the columns ``path`` and ``action``, such as the one that
``derma data check`` writes. The images go where their class says, so that folders and manifest
agree, and what was done is kept in ``corrections.csv`` beside the manifest. That record is a file
of corrections itself: after a fresh import it does all of it again, as it knows the images by
their bytes.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pandas as pd

from doctor_derma.data.importers.importing import free_path, one_sentence, staged_dataset
from doctor_derma.data.importers.tables import read_table, require_columns, rows_of
from doctor_derma.data.manifest import (
    CORRECTIONS_FILE,
    DROPPED_FOLDER,
    Dataset,
    read_dataset,
    write_dataset,
)
from doctor_derma.data.splits import require_every_class
from doctor_derma.errors import DermaError

DROP = "drop"
RELABEL = "relabel:"


@dataclass(frozen=True)
class Correction:
    """One image that is corrected: a row of ``corrections.csv``.

    Attributes
    ----------
    path, image, sha256 : of the image in the manifest, before the correction
    label : its class before
    action : ``drop``, or ``relabel:CLASS``
    applied : when, in UTC
    file : the file that asked for it
    fingerprint : of the manifest before
    """

    path: str
    image: str
    sha256: str
    label: str
    action: str
    applied: str
    file: str
    fingerprint: str

    @property
    def drops(self) -> bool:
        """Whether the image is left out."""
        return self.action == DROP

    @property
    def becomes(self) -> str:
        """The class that the image gets."""
        return self.action.removeprefix(RELABEL)


COLUMNS = tuple(field.name for field in fields(Correction))


def planned_corrections(file: Path, dataset: Dataset) -> list[Correction]:
    """Read a file of corrections, and return those that would change something.

    Rows without an action are what somebody left as it is. A row with a ``sha256`` is of the image
    with these bytes, and another one of the image with its ``path``. Of rows with different
    ``applied`` the latest counts.

    Raises
    ------
    DermaError
        When the file can't be read, names an unknown path, class or action, or asks for two
        things of one image; or when a class would be left without an image in a split.
    """
    table = dataset.table[["path", "image", "sha256", "class"]].astype(str)
    known = list(table.itertuples(index=False, name=None))
    by_path = {path: row for row, (path, _, _, _) in enumerate(known)}
    by_bytes = {sha256: row for row, (_, _, sha256, _) in enumerate(known)}
    done = {one.path: one for one in read_corrections(dataset.folder)}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    wanted: dict[int, Correction] = {}
    for asked in _asked(file):
        path, action, sha256 = asked["path"], asked["action"], asked.get("sha256", "")
        _check_action(f"{file}: {path}", action, dataset)
        row = by_bytes.get(sha256) if sha256 else by_path.get(path)
        if row is None:
            if sha256:
                continue  # Of the record: it was dropped, or is not in this import.
            raise DermaError(f"{file}: {path}: {_why_unknown(done.get(path))}")
        if row in wanted and wanted[row].action != action and not asked.get("applied"):
            raise DermaError(
                f"{file}: {path}: both {wanted[row].action} and {action} are asked for; keep one"
            )
        place, image, found_bytes, label = known[row]
        wanted[row] = Correction(
            *(place, image, found_bytes, label, action, now, file.name, dataset.fingerprint)
        )
    found = [one for _, one in sorted(wanted.items()) if one.drops or one.becomes != one.label]
    corrected = _corrected(dataset.table, found)
    if corrected["class"].nunique() < 2:
        raise DermaError(
            f"{file}: these corrections leave fewer than two classes, which a classifier needs; "
            "take some of them out"
        )
    try:
        require_every_class(list(corrected["class"]), list(corrected["split"]))
    except DermaError as error:
        raise DermaError(f"{file}: after these corrections {error}") from error
    return found


def apply_corrections(corrections: list[Correction], dataset: Dataset) -> Dataset:
    """Drop and relabel images, all of them or none, and keep a record of it.

    Files of dropped images go to ``dropped/``, those of relabelled ones to the folder of
    their new class; the split and the lesion of an image stay. A process that is killed meanwhile
    leaves the data set as it was, or the next import or correction ends what was begun.

    Returns
    -------
    the corrected data set, which has another fingerprint

    Raises
    ------
    DermaError
        When the folder can't be written, or holds images that no import wrote.
    """
    folder = dataset.folder
    with one_sentence(folder), staged_dataset(folder) as staging:
        table = _corrected(dataset.table, corrections)
        for before, after in zip(dataset.table["path"][table.index], table["path"], strict=True):
            _link(folder / before, staging / after)
        if (folder / DROPPED_FOLDER).is_dir():
            shutil.copytree(folder / DROPPED_FOLDER, staging / DROPPED_FOLDER, copy_function=_link)
        for one in corrections:
            if one.drops:
                _keep_dropped(folder / one.path, staging / DROPPED_FOLDER, one.sha256)
        record = [*read_corrections(folder), *corrections]
        pd.DataFrame(record, columns=list(COLUMNS)).to_csv(staging / CORRECTIONS_FILE, index=False)
        write_dataset(staging, dataset.info, table)
    return read_dataset(folder)


def read_corrections(folder: Path) -> list[Correction]:
    """Return what was corrected in a ``data/`` folder, oldest first.

    Raises
    ------
    DermaError
        When the record can't be read.
    """
    path = folder / CORRECTIONS_FILE
    if not path.is_file():
        return []
    table = read_table(path)
    require_columns(path, table, COLUMNS)
    return [Correction(*row) for row in table[list(COLUMNS)].itertuples(index=False)]


def undone_corrections(dataset: Dataset) -> int:
    """Count the images whose recorded correction is not made, as after a fresh import."""
    label_of = dict(zip(dataset.table["sha256"], dataset.table["class"], strict=True))
    last = {one.sha256: one for one in read_corrections(dataset.folder)}
    return sum(
        sha256 in label_of and (one.drops or one.becomes != label_of[sha256])
        for sha256, one in last.items()
    )


def _asked(file: Path) -> list[dict[str, str]]:
    """Return the rows of a file that ask for something, those of a record by their age."""
    if not file.is_file():
        raise DermaError(
            f"{file}: no such file; name the CSV that derma data check wrote, with its column "
            "action filled in"
        )
    table = read_table(file)
    require_columns(file, table, ("path", "action"))
    rows = [row for row in rows_of(table) if row["action"]]
    return sorted(rows, key=lambda row: row.get("applied", ""))


def _check_action(place: str, action: str, dataset: Dataset) -> None:
    if action == DROP:
        return
    if not action.startswith(RELABEL):
        raise DermaError(
            f"{place}: unknown action '{action}'; write {DROP}, {RELABEL}CLASS or nothing"
        )
    if (label := action.removeprefix(RELABEL)) not in dataset.classes:
        raise DermaError(
            f"{place}: unknown class '{label}'; the classes are {', '.join(dataset.classes)}"
        )


def _why_unknown(done: Correction | None) -> str:
    if done:
        return (
            f"no longer there, as {done.file} asked for '{done.action}' at {done.applied}; take "
            "the row out"
        )
    return "no image of the manifest has this path; take the row out or mend the path"


def _corrected(table: pd.DataFrame, corrections: list[Correction]) -> pd.DataFrame:
    """Return the manifest after corrections; the index tells which rows stayed."""
    by_path = {one.path: one for one in corrections}
    dropped = [one.path for one in corrections if one.drops]
    table = table[~table["path"].isin(dropped)].copy()
    taken = {path.lower() for path in table["path"] if path not in by_path}
    for row, path in table["path"].items():
        if one := by_path.get(path):
            file = PurePosixPath(path)
            stem = f"{file.parts[0]}/{one.becomes}/{file.stem}"
            table.loc[row, ["class", "path"]] = one.becomes, free_path(stem, file.suffix, taken)
    return table


def _keep_dropped(file: Path, folder: Path, sha256: str) -> None:
    kept = folder / file.name
    if kept.exists() and hashlib.sha256(kept.read_bytes()).hexdigest() != sha256:
        kept = kept.with_stem(f"{kept.stem}_{sha256[:8]}")
    if not kept.exists():
        _link(file, kept)


def _link(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, or copy it where the file system has but one for each."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
