"""Reads class folders: ``train/<class>/``, ``val/<class>/``, ``test/<class>/`` or ``<class>/``."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from doctor_derma.data.importers.label_tables import contradicting_labels
from doctor_derma.data.importers.pictures import reader
from doctor_derma.data.importers.records import SourceImage, lesion_id, unique_names
from doctor_derma.data.importers.tables import (
    TEXT_SUFFIXES,
    as_age,
    as_sex,
    match_names,
    read_table,
    require_columns,
    rows_of,
    shown,
)
from doctor_derma.data.splits import split_in, split_named
from doctor_derma.errors import DermaError
from doctor_derma.images.formats import IMAGE_SUFFIXES
from doctor_derma.images.walking import files_below

METADATA_NAME = "metadata"
REQUIRED_COLUMNS = ("image", "lesion")
# A table of which fewer rows name a picture is not about these pictures, or names them otherwise.
LEAST_MATCHED = 0.95

_LAYOUT = "lay the images out as train/<class>/ and test/<class>/, or as <class>/"


class _Place(NamedTuple):
    """What a path tells: split and class, where it tells them, and what lies between."""

    split: str | None
    dx: str | None
    deeper: tuple[str, ...]


def read_folder(source: Path, *, train: bool = True) -> list[SourceImage]:
    """List the images of a folder of class folders, whatever lies deeper in them included.

    Splits may be spelt otherwise, such as ``Training/``, ``valid/`` or ``test_set/``. A table
    ``metadata.csv`` with the columns ``image`` (path, file name, or name without ending) and
    ``lesion``, and where known ``age``, ``sex``, ``site`` and ``source`` (the clinic or
    collection), tells which images show one lesion; otherwise each image is a lesion of its
    own. Images outside class folders, and rows without a file, are listed too, so that the
    import reports them.

    Parameters
    ----------
    train : whether there has to be a ``train/`` where there is another split

    Raises
    ------
    DermaError
        When the folder is missing, has no class folders with files, has ``val/`` or ``test/``
        but no ``train/``, its folders seem to be something else than classes, or the table
        lacks a column or names other images.
    """
    if not source.is_dir():
        raise DermaError(f"{source}: no such folder; {_LAYOUT} and name the folder above")
    found = files_below(source)
    below = [PurePosixPath(shown(path.relative_to(source).as_posix())) for path in found]
    splits = _split_folders(source, train)
    places = {path: _place(path, splits) for path in below}
    _refuse_other_layouts(source, places, splits)
    # In pairs: two names on disk, of which one is not in UTF-8, can be shown as the same.
    kept = [
        (path, file)
        for path, file in zip(below, found, strict=True)
        if places[path].dx or _is_picture(path)
    ]
    paths = [path for path, _ in kept]
    rows, without = _read_metadata(source, paths)
    of_folder = shown(source.resolve().name)
    images = []
    for (path, file), name in zip(kept, unique_names(paths), strict=True):
        row = defaultdict(str, rows.get(path, {}))
        images.append(
            SourceImage(
                image=name,
                origin=shown(str(file)),
                read=reader(file),
                suffix=path.suffix.lower(),
                lesion=lesion_id(row["lesion"], of_folder),
                dx=places[path].dx,
                split=places[path].split,
                age=as_age(row["age"]),
                sex=as_sex(row["sex"]),
                site=row["site"] or None,
                source=row["source"] or None,
            )
        )
    return images + [SourceImage(name, name, None) for name in without]


def _is_picture(path: PurePosixPath) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _split_folders(source: Path, train: bool) -> dict[str, str]:
    """Return the folders that are splits, and which one each is."""
    folders = sorted(shown(path.name) for path in source.iterdir() if path.is_dir())
    splits = {name: split for name in folders if (split := split_named(name))}
    for split, count in Counter(splits.values()).items():
        if count > 1:
            both = [f"{name}/" for name, of in splits.items() if of == split]
            raise DermaError(
                f"{source}: {' and '.join(both)} are both {split}; put them together or rename one"
            )
    if train and splits and "train" not in splits.values():
        raise DermaError(f"{source}: has {next(iter(splits))}/ but no train/; {_LAYOUT}")
    return splits


def _place(path: PurePosixPath, splits: dict[str, str]) -> _Place:
    folders = path.parts[:-1]
    if not splits:
        return _Place(None, folders[0], folders[1:]) if folders else _Place(None, None, ())
    if len(folders) > 1 and folders[0] in splits:
        return _Place(splits[folders[0]], folders[1], folders[2:])
    return _Place(None, None, folders)


def _refuse_other_layouts(
    source: Path, places: Mapping[PurePosixPath, _Place], splits: dict[str, str]
) -> None:
    """Stop where folders would be taken for classes that are something else."""
    inside: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for path, place in places.items():
        if place.dx and path.suffix.lower() not in TEXT_SUFFIXES:
            inside[place.dx].add(place.deeper[:1])
    classes = sorted(inside)
    pictures = {path: place.dx or "" for path, place in places.items() if _is_picture(path)}
    if labels := contradicting_labels(source, pictures, places):
        table, columns = labels
        raise DermaError(
            f"{source}: {_listed(classes)} would be the classes, but {table} says in {columns} "
            "what a picture shows, and it is something else; import it with 'derma data import "
            f"table {table} --images {source}', or put the pictures into one folder a class"
        )
    if not classes:
        held = f", {_listed(splits)} hold none" if splits else ""
        raise DermaError(f"{source}: no class folders with images{held}; {_LAYOUT}")
    if not splits and all(split_in(name) for name in classes):
        raise DermaError(
            f"{source}: {_listed(classes)} would be the classes, but are named like splits, and "
            f"hold pictures where class folders should be; {_LAYOUT}"
        )
    nowhere_loose = all(() not in found for found in inside.values())
    for name in classes:
        names = sorted(deeper[0] for deeper in inside[name] if deeper)
        divided = any(map(split_named, names))
        if () not in inside[name] and (divided or nowhere_loose):
            above = source / name if divided else "the folder above them"
            raise DermaError(
                f"{source}: {name}/ would be a class, but holds only folders of pictures "
                f"({_listed(names)}); {_LAYOUT}, and name {above}"
            )
    for folder, dx in (path.parts[:2] for path in places if splits and len(path.parts) > 2):
        if folder not in splits and dx in classes:
            raise DermaError(
                f"{source}: {folder}/ has class folders as {_listed(splits)} have, but is no split "
                "by its name; call it train, val or test, or move it away"
            )


def _listed(names: Sequence[str] | dict[str, str], most: int = 4) -> str:
    shown = [f"'{name}'" for name in list(names)[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _read_metadata(
    source: Path, paths: Sequence[PurePosixPath]
) -> tuple[dict[PurePosixPath, dict[str, str]], list[str]]:
    """Return rows of the metadata by picture, and the names in those that are of none."""
    table_path = _metadata_file(source)
    if table_path is None:
        return {}, []
    table = read_table(table_path).rename(columns=str.casefold)
    require_columns(table_path, table, REQUIRED_COLUMNS)
    rows = rows_of(table)
    names = [row["image"] for row in rows]
    found = match_names(table_path, names, [str(path) for path in paths])
    without = [name for name, positions in zip(names, found, strict=True) if not positions]
    if len(without) > (1 - LEAST_MATCHED) * len(names):
        raise DermaError(
            f"{table_path}: {len(names) - len(without):,} of {len(names):,} rows name a picture "
            f"below {source}; the first that names none is '{without[0]}', the first picture is "
            f"'{paths[0]}'; write the names as they are there, or move the table away"
        )
    of: dict[PurePosixPath, dict[str, str]] = {}
    for row, positions in zip(rows, found, strict=True):
        for position in positions:
            known = of.setdefault(paths[position], row)
            if known["lesion"] != row["lesion"]:
                raise DermaError(
                    f"{table_path}: '{known['image']}' and '{row['image']}' are one picture, "
                    f"{paths[position]}, of lesion '{known['lesion']}' and of '{row['lesion']}'; "
                    "leave one of the rows"
                )
    return of, without


def _metadata_file(source: Path) -> Path | None:
    found = [path for path in sorted(source.iterdir()) if path.stem.casefold() == METADATA_NAME]
    tables = [path for path in found if path.suffix.lower() in TEXT_SUFFIXES]
    if len(tables) > 1:
        raise DermaError(f"{tables[0]}: {tables[1].name} is there too; leave one of them")
    if found and not tables and not found[0].is_dir():
        raise DermaError(f"{found[0]}: not a readable table; save it as {METADATA_NAME}.csv")
    return tables[0] if tables else None
