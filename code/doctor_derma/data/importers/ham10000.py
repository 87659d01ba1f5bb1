"""Reads the HAM10000 archive as it is published, zipped or unpacked.

Tschandl, Rosendahl, Kittler: "The HAM10000 dataset, a large collection of multi-source
dermatoscopic images of common pigmented skin lesions", Scientific Data 5:180161, 2018,
doi:10.7910/DVN/DBW86T.
"""

import zipfile
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.importers.tables import (
    as_age,
    as_text,
    read_table,
    require_columns,
    same_name,
    shown,
)
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import IMAGE_SUFFIXES
from doctor_derma.images.walking import files_below

# Name, source and licence, as in the archive's record.
HAM10000 = ("ham10000", "doi:10.7910/DVN/DBW86T", "CC BY-NC 4.0")
METADATA_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
METADATA_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
# The newer metadata says in a column more which of four collections an image is from; beside
# the older one, a table of its own can say it.
SOURCES_COLUMNS = ("image_id", "dataset")
SOURCES_NAME = "HAM10000_sources.csv"
IMAGES_PATTERN = "ham10000_images*"


class _ImageFile(NamedTuple):
    name: str
    origin: str
    suffix: str
    read: Callable[[], bytes]


def read_ham10000(source: Path) -> list[SourceImage]:
    """List the images of a folder that holds ``HAM10000_metadata.csv`` and the pictures.

    Pictures lie in the folder, in ``HAM10000_images_part_1/`` and ``_part_2/``, or in zip
    archives of these names, in any case; an unpacked picture goes before a zipped one. What the
    metadata lists and isn't there is looked for in all other folders and archives. A row without
    a picture and a picture without a row are listed too, so that the import reports them. The
    collection of an image is in the column ``dataset``, or in ``HAM10000_sources.csv``.

    Raises
    ------
    DermaError
        When the metadata or a column is missing, there are no pictures or none of the rows', or
        an archive is damaged.
    """
    below = files_below(source) if source.is_dir() else []
    metadata = _find_table(source, below)
    table = read_table(metadata)
    require_columns(metadata, table, METADATA_COLUMNS)
    listed = dict.fromkeys(same_name(name) for name in table["image_id"] if name.strip())
    files = _find_images(source, below, set(listed))
    _require_pictures(source, metadata, table, files, below)
    sources = _read_sources(metadata, table)
    images = [_from_row(row, files, sources) for row in table.to_dict("records")]
    images += [
        SourceImage(file.name, file.origin, file.read, file.suffix)
        for key, file in sorted(files.items())
        if key not in listed
    ]
    return images


def _find_table(source: Path, below: Sequence[Path]) -> Path:
    names = [name.casefold() for name in METADATA_NAMES]
    found = [path for path in below if path.name.casefold() in names]
    if not found:
        raise DermaError(
            f"{source / METADATA_NAMES[0]}: not found; name the folder that holds the HAM10000 "
            "archive, or fetch it with 'derma data download ham10000' (the folders below were "
            "searched, too)"
        )
    return min(found, key=lambda path: (len(path.parts), names.index(path.name.casefold())))


def _read_sources(metadata: Path, rows: pd.DataFrame) -> dict[str, str]:
    path = metadata.with_name(SOURCES_NAME)
    if "dataset" in rows.columns:
        table = rows
    elif path.is_file():
        table = read_table(path)
        require_columns(path, table, SOURCES_COLUMNS)
    else:
        return {}
    names, collections = (table[column].str.strip() for column in SOURCES_COLUMNS)
    return dict(zip(names.map(same_name), collections, strict=True))


def _find_images(source: Path, below: Sequence[Path], listed: set[str]) -> dict[str, _ImageFile]:
    """Return the pictures by `same_name`, those in the published places before all others."""
    archives = [path for path in below if path.suffix.lower() == ".zip" and path.is_file()]
    pictures = [path for path in below if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    files: dict[str, _ImageFile] = {}
    for archive in archives:
        if _is_published(source, archive):
            files |= _zipped_images(archive)
    files |= {
        same_name(path.name): _unpacked(path) for path in pictures if _is_published(source, path)
    }
    for path in pictures:
        # Not simply all: lesion masks may be unpacked beside the pictures.
        if (key := same_name(path.name)) in listed:
            files.setdefault(key, _unpacked(path))
    for archive in archives:
        if not listed <= files.keys() and not _is_published(source, archive):
            inside = _zipped_images(archive)
            files = {key: file for key, file in inside.items() if key in listed} | files
    return files


def _is_published(source: Path, path: Path) -> bool:
    """Say whether a file lies where the published archive has its pictures."""
    first, *deeper = path.relative_to(source).parts
    if not deeper and path.suffix.lower() != ".zip":
        return True
    return fnmatchcase(first.casefold(), IMAGES_PATTERN) and (
        path.suffix.lower() != ".zip" or not deeper
    )


def _unpacked(path: Path) -> _ImageFile:
    name = Path(shown(str(path)))
    return _ImageFile(name.stem, str(name), name.suffix.lower(), path.read_bytes)


def _zipped_images(archive: Path) -> dict[str, _ImageFile]:
    try:
        opened = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError) as error:
        raise DermaError(f"{archive}: can't be opened ({error}); download it again") from error
    files = {}
    for member in opened.namelist():
        inside = PurePosixPath(member)
        # macOS puts a "._" twin beside every picture it zips.
        if inside.suffix.lower() in IMAGE_SUFFIXES and not inside.name.startswith("."):
            read = partial(opened.read, member)
            files[same_name(inside.name)] = _ImageFile(
                inside.stem, f"{archive}:{member}", inside.suffix.lower(), read
            )
    return files


def _require_pictures(
    source: Path,
    metadata: Path,
    table: pd.DataFrame,
    files: dict[str, _ImageFile],
    below: Sequence[Path],
) -> None:
    if not files:
        parts = sorted({path.relative_to(source).parts[0] for path in below})
        raise DermaError(
            f"{source}: no pictures found in it, in folders or in zip archives (it holds "
            f"{', '.join(parts)}); put HAM10000_images_part_1.zip and _part_2.zip, or the unpacked "
            ".jpg files, there"
        )
    if not any(same_name(name) in files for name in table["image_id"]):
        first = next((name for name in table["image_id"] if name.strip()), "")
        picture = next(iter(files.values()))
        raise DermaError(
            f"{metadata}: none of {len(table):,} rows names one of {len(files):,} pictures; the "
            f"first row is '{first}', the first picture {picture.origin}"
        )


def _from_row(row: dict, files: dict[str, _ImageFile], sources: dict[str, str]) -> SourceImage:
    name = as_text(row["image_id"]) or ""
    key = same_name(name)
    file = files.get(key)
    return SourceImage(
        image=file.name if file else name,
        origin=file.origin if file else name,
        read=file.read if file else None,
        suffix=file.suffix if file else ".jpg",
        lesion=as_text(row["lesion_id"]),
        dx=as_text(row["dx"]),
        age=as_age(row["age"]),
        sex=as_text(row["sex"]),
        site=as_text(row["localization"]),
        source=sources.get(key),
    )
