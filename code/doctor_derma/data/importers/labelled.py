"""Pictures with a table that says what they show: any table, by the names of its columns.

`recognise` finds the tables of a folder and the layout that they have, `read_labelled` makes
images of them, as `doctor_derma.data.importers.importing` takes them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath

from doctor_derma.data.importers.pictures import READ_ERRORS, PictureFile
from doctor_derma.data.importers.presets import COLUMNS, DROP, Layout, presets, usual_layout
from doctor_derma.data.importers.records import SourceImage, lesion_id, unique_names
from doctor_derma.data.importers.tables import (
    TABLE_SUFFIXES,
    as_age,
    as_sex,
    first_shared,
    match_names,
    read_table,
    rows_of,
    same_name,
    shown,
)
from doctor_derma.data.splits import split_in, split_named
from doctor_derma.errors import DermaError
from doctor_derma.images.walking import files_below

# Enough to see what a folder is.
_MOST_TABLES = 50
_MARKED = frozenset({"1", "1.0", "x", "true", "yes"})
# Where the split stands, of the table's name, other files or the row; no column is called so.
_SPLIT = "\0split"
Row = dict[str, str]


@dataclass(frozen=True)
class Labels:
    """The tables of a source: how they are laid out, those with a row a picture, and others.

    ``joined`` have what the main ones lack, by the image's or the lesion's name.
    """

    layout: Layout
    tables: tuple[Path, ...]
    joined: tuple[Path, ...] = ()


def recognise(folder: Path) -> list[Labels]:
    """Return the layouts that the tables in a folder can have, published ones before others."""
    heads = _heads_of(files_below(folder))
    found = [labels for layout in presets().values() if (labels := _fitting(layout, heads))]
    return found or [labels for labels in [_fitting(usual_layout(), heads)] if labels]


def recognise_table(table: Path) -> Labels | None:
    """Return the layout of one table, with what tables beside it add; None where it has none."""
    heads = _heads_beside(table)
    layouts = [*presets().values(), usual_layout()]
    found = (_fitting(layout, heads, only=table) for layout in layouts)
    return next((labels for labels in found if labels), None)


def require_layout(table: Path, layout: Layout, named: Iterable[str] = ()) -> Labels:
    """Return a table with a layout; raise a ``DermaError`` that says which column it lacks.

    Parameters
    ----------
    named : columns that have to be there, beside those of image and label
    """
    heads = _heads_beside(table)
    found = _fitting(layout, heads, only=table)
    tables = (*found.tables, *found.joined) if found else (table,)
    columns = set().union(*(heads[path] for path in tables))
    there = f"(found {', '.join(sorted(columns))})"
    if not found:
        lacking = layout.label or ", ".join(layout.classes)
        if columns.isdisjoint(_names(layout.image)):
            lacking = layout.image
        raise DermaError(
            f"{table}: has no column {' or '.join(lacking.split('|'))} {there}; name its "
            "columns, such as --image ID --label DIAGNOSIS"
        )
    if missing := [column for column in named if columns.isdisjoint(_names(column))]:
        raise DermaError(f"{table}: column '{missing[0]}' is missing {there}")
    return found


def _heads_beside(table: Path) -> dict[Path, set[str]]:
    """Return the columns of a table, which has to be one, and of those in its folder."""
    heads = {table: _columns(table)}
    others = (path for path in sorted(table.parent.iterdir()) if path != table)
    return heads | _heads_of(others)


def _heads_of(paths: Iterable[Path]) -> dict[Path, set[str]]:
    """Return the columns of those of the files that are tables."""
    heads: dict[Path, set[str]] = {}
    for path in paths:
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file() and len(heads) < _MOST_TABLES:
            with suppress(DermaError):
                heads[path] = _columns(path)
    return heads


def _columns(table: Path) -> set[str]:
    """Return the columns of a table, in small letters."""
    return set(map(str.casefold, read_table(table, 1, head=_heads()).columns))


def _heads() -> tuple[str, ...]:
    """Return the names by which the head of a published table is known among other lines."""
    return tuple(name for preset in presets().values() for name in preset.image.split("|"))


def _fitting(
    layout: Layout, heads: Mapping[Path, set[str]], only: Path | None = None
) -> Labels | None:
    image, lesion = set(_names(layout.image)), set(_names(layout.lesion))
    classes = set(map(str.casefold, layout.classes))
    marks = set(map(str.casefold, layout.marks))

    def labels(path: Path) -> bool:
        told = bool(classes) and classes <= heads[path]
        return told or not heads[path].isdisjoint(_names(layout.label))

    mains = [
        path
        for path, columns in heads.items()
        if columns & image and marks <= columns and only in (None, path)
    ]
    tables = [path for path in mains if labels(path)] or mains
    wanted = classes.union(*(_names(getattr(layout, column)) for column in COLUMNS))
    joined = [
        path
        for path, columns in heads.items()
        if path not in tables
        and columns & (image | lesion)
        and any(columns & wanted - heads[main] - image for main in mains)
    ]
    if not tables or not any(map(labels, [*tables, *joined])):
        return None
    return Labels(layout, tuple(tables), tuple(joined))


def read_labelled(labels: Labels, pictures: Sequence[PictureFile]) -> list[SourceImage]:
    """List the images of a source: one a row of its tables.

    A row without a picture, one whose label is dropped and one without a label are listed too,
    so that the import reports them. Pictures that no row names are left. Images of one lesion
    belong together; where it isn't known, those of one patient.

    Parameters
    ----------
    pictures : in order of preference: of several of one name and the same bytes the first is taken

    Raises
    ------
    DermaError
        When no row names a picture, a name can mean several pictures, two rows say otherwise of
        one picture, some rows name a split and others something else, or a table can't be read.
    """
    layout, table = labels.layout, labels.tables[0]
    rows = [row for row in _rows(labels) if _cell(row, layout.image)]
    pictures = _without_copies(pictures)
    names = [_cell(row, layout.image) for row in rows]
    found = match_names(table, names, [picture.path for picture in pictures])
    if not any(found):
        first = f"the first picture {pictures[0].path}" if pictures else "there is no picture"
        raise DermaError(
            f"{table}: none of {len(rows):,} rows names one of {len(pictures):,} pictures; the "
            f"first row is '{next(iter(names), '')}', {first}"
        )
    images: dict[str, SourceImage] = {}
    splits: set[str] = set()
    for row, written, positions in zip(rows, names, found, strict=True):
        file = pictures[positions[0]] if positions else None
        image = _image(row, written, file, layout)
        if image.left_out and not file:
            continue
        if file and not image.left_out:
            splits.add(row[_SPLIT])
        known = images.setdefault(image.origin, image)
        if (known.dx, known.lesion) != (image.dx, image.lesion):
            raise DermaError(
                f"{table}: two rows are of {image.origin}, '{known.dx}' of lesion '{known.lesion}' "
                f"and '{image.dx}' of lesion '{image.lesion}'; leave one of them"
            )
    _refuse_unknown_splits(table, splits)
    return _told_apart(list(images.values()))


def _without_copies(pictures: Sequence[PictureFile]) -> list[PictureFile]:
    """Leave out what has the name and the bytes of a picture before it."""
    looks = [(same_name(picture.path), picture.size) for picture in pictures]
    alike = Counter(looks)
    first: dict[tuple[str, int, str], PictureFile] = {}
    for picture, look in zip(pictures, looks, strict=True):
        first.setdefault((*look, _digest(picture) if alike[look] > 1 else ""), picture)
    return list(first.values())


def _digest(picture: PictureFile) -> str:
    """Return the SHA-256 of a picture; one that can't be read is like no other."""
    try:
        return hashlib.sha256(picture.read()).hexdigest()
    except READ_ERRORS:
        return picture.path


def _refuse_unknown_splits(table: Path, written: set[str]) -> None:
    """Stop where some rows name a split and others what is none: these would be divided anew."""
    known = [f"'{word}'" for word in sorted(written) if split_named(word)]
    unknown = [word for word in sorted(written) if word and not split_named(word)]
    if known and unknown:
        raise DermaError(
            f"{table}: '{unknown[0]}' is no split by its name, as {', '.join(known)} of other rows "
            "are; write train, val or test, or leave the cell empty"
        )


def _told_apart(images: Sequence[SourceImage]) -> list[SourceImage]:
    """Give each picture a name of its own, if need be with the folders that not all lie in."""
    paths = [PurePosixPath(image.origin.lstrip("/")) for image in images if image.read]
    shared = first_shared(path.parts[:-1] for path in paths)
    names = iter(unique_names([PurePosixPath(*path.parts[shared:]) for path in paths]))
    return [replace(image, image=next(names)) if image.read else image for image in images]


def _rows(labels: Labels) -> Iterator[Row]:
    """Give the rows of the main tables, with what the joined ones know of them."""
    layout = labels.layout
    others = [_keyed(path, layout) for path in labels.joined]
    for path in labels.tables:
        split = split_in(path.stem) if layout.split_by_table else None
        by_row = {
            int(row["indexes"]): part
            for part, name in layout.split_rows.items()
            if (beside := path.with_name(name)).is_file()
            for row in _read(beside)
        }
        for number, row in enumerate(_read(path)):
            for column, known in others:
                if key := same_name(_cell(row, column)):
                    row = known.get(key, {}) | {name: cell for name, cell in row.items() if cell}
            yield row | {_SPLIT: by_row.get(number, split) or _cell(row, layout.split)}


def _read(path: Path) -> list[Row]:
    return rows_of(read_table(path, head=_heads()).rename(columns=str.casefold))


def _keyed(path: Path, layout: Layout) -> tuple[str, dict[str, Row]]:
    """Return the rows of a table by the name of their image, or else of their lesion."""
    rows = _read(path)
    has_image = any(name in row for row in rows[:1] for name in _names(layout.image))
    column = layout.image if has_image else layout.lesion
    return column, {same_name(_cell(row, column)): row for row in reversed(rows)}


def _image(row: Row, written: str, file: PictureFile | None, layout: Layout) -> SourceImage:
    label = _label(row, layout)
    dx = layout.class_of(label)
    left_out = f"its label '{label}' is none of the classes" if dx == DROP else None
    for column, value in layout.keep.items():
        if (cell := row.get(column.casefold(), "")) and cell.casefold() != value.casefold():
            left_out = f"its {column} is '{cell}', not '{value}'"
    lesion = lesion_id(_cell(row, layout.lesion), layout.name)
    patient = _cell(row, layout.patient)
    tone = _cell(row, layout.skin_tone).removesuffix(".0")
    return SourceImage(
        image=file.stem if file else shown(written),
        origin=file.path if file else shown(written),
        read=file.read if file else None,
        suffix=file.suffix if file else ".jpg",
        lesion=lesion or (f"patient {patient}" if patient else None),
        dx=None if left_out else dx,
        split=split_named(row[_SPLIT]),
        age=as_age(_cell(row, layout.age)),
        sex=as_sex(_cell(row, layout.sex)),
        site=_cell(row, layout.site) or None,
        source=_cell(row, layout.source) or None,
        patient=patient or None,
        skin_tone=None if tone in ("", "-1") else tone,
        left_out=left_out,
    )


def _label(row: Row, layout: Layout) -> str:
    """Return what a row calls its picture; of several labels the first that is a class."""
    written = [row.get(name, "") for name in _names(layout.label)]
    marked = [name for name in layout.classes if row.get(name.casefold(), "").casefold() in _MARKED]
    known = [label for label in (*written, *marked) if label]
    meant = (label for label in known if layout.class_of(label) != DROP)
    return next(meant, known[0] if known else "")


def _cell(row: Row, column: str) -> str:
    """Return the first cell that is filled of those a column's names mean."""
    return next((cell for name in _names(column) if (cell := row.get(name))), "")


@cache
def _names(column: str) -> tuple[str, ...]:
    """Return the names that a column may have, in small letters."""
    return tuple(name for name in column.casefold().split("|") if name)
