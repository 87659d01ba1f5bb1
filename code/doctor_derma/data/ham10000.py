"""Reads the HAM10000 archive as it is published, zipped or unpacked.

Tschandl, Rosendahl, Kittler: "The HAM10000 dataset, a large collection of multi-source
dermatoscopic images of common pigmented skin lesions", Scientific Data 5:180161, 2018,
doi:10.7910/DVN/DBW86T.
"""

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from doctor_derma.data.decoding import IMAGE_SUFFIXES
from doctor_derma.data.records import SourceImage
from doctor_derma.data.tables import as_age, as_text, read_table, require_columns
from doctor_derma.errors import DermaError

# Name, source and licence, as in the archive's record.
HAM10000 = ("ham10000", "doi:10.7910/DVN/DBW86T", "CC BY-NC 4.0")
METADATA_NAMES = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
METADATA_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
# The newer metadata says in a column more which of four collections an image is from; beside
# the older one, a table of its own can say it.
SOURCES_COLUMNS = ("image_id", "dataset")
SOURCES_NAME = "HAM10000_sources.csv"
IMAGES_PATTERN = "HAM10000_images*"


class _ImageFile(NamedTuple):
    origin: str
    suffix: str
    read: Callable[[], bytes]


def read_ham10000(source: Path) -> list[SourceImage]:
    """List the images of a folder that holds ``HAM10000_metadata.csv`` and the pictures.

    Pictures lie in the folder, in ``HAM10000_images_part_1/`` and ``_part_2/``, or in zip
    archives of these names; an unpacked picture goes before a zipped one. A row without a
    picture and a picture without a row are listed too, so that the import reports them.
    The collection of an image is in the column ``dataset``, or in ``HAM10000_sources.csv``.

    Raises
    ------
    DermaError
        When the metadata or a column is missing, there are no pictures, or an archive is damaged.
    """
    table = _read_metadata(source)
    files = _find_images(source)
    if not files:
        raise DermaError(
            f"{source}: no pictures found; put HAM10000_images_part_1.zip and _part_2.zip "
            "(or the unpacked .jpg files) there"
        )
    sources = _read_sources(source, table)
    images = [_from_row(row, files, sources) for row in table.to_dict("records")]
    listed = {image.image for image in images}
    images += [
        SourceImage(name, file.origin, file.read, file.suffix)
        for name, file in sorted(files.items())
        if name not in listed
    ]
    return images


def _read_metadata(source: Path) -> pd.DataFrame:
    for name in METADATA_NAMES:
        path = source / name
        if path.is_file():
            table = read_table(path)
            require_columns(path, table, METADATA_COLUMNS)
            return table
    raise DermaError(
        f"{source / METADATA_NAMES[0]}: not found; name the folder that holds the HAM10000 "
        "archive, or fetch it with 'derma data download ham10000'"
    )


def _read_sources(source: Path, metadata: pd.DataFrame) -> dict[str, str]:
    path = source / SOURCES_NAME
    if "dataset" in metadata.columns:
        table = metadata
    elif path.is_file():
        table = read_table(path)
        require_columns(path, table, SOURCES_COLUMNS)
    else:
        return {}
    names, collections = (table[column].str.strip() for column in SOURCES_COLUMNS)
    return dict(zip(names, collections, strict=True))


def _find_images(source: Path) -> dict[str, _ImageFile]:
    files: dict[str, _ImageFile] = {}
    for archive in sorted(source.glob(IMAGES_PATTERN + ".zip")):
        files |= _zipped_images(archive)
    # Not simply everything below: lesion masks may be unpacked beside the pictures.
    folders = [path for path in source.iterdir() if path.match(IMAGES_PATTERN) and path.is_dir()]
    inside = [path for folder in folders for path in folder.rglob("*")]
    for path in sorted([*source.iterdir(), *inside]):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            files[path.stem] = _ImageFile(str(path), path.suffix.lower(), path.read_bytes)
    return files


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
            files[inside.stem] = _ImageFile(f"{archive}:{member}", inside.suffix.lower(), read)
    return files


def _from_row(row: dict, files: dict[str, _ImageFile], sources: dict[str, str]) -> SourceImage:
    name = as_text(row["image_id"]) or ""
    file = files.get(name)
    return SourceImage(
        image=name,
        origin=file.origin if file else name,
        read=file.read if file else None,
        suffix=file.suffix if file else ".jpg",
        lesion=as_text(row["lesion_id"]),
        dx=as_text(row["dx"]),
        age=as_age(row["age"]),
        sex=as_text(row["sex"]),
        site=as_text(row["localization"]),
        source=sources.get(name),
    )
