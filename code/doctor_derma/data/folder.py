"""Reads class folders: ``train/<class>/``, ``val/<class>/``, ``test/<class>/`` or ``<class>/``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from doctor_derma.data.decoding import IMAGE_SUFFIXES
from doctor_derma.data.manifest import SPLITS
from doctor_derma.data.records import SourceImage
from doctor_derma.data.tables import as_age, as_text, read_table, require_columns
from doctor_derma.errors import DermaError

METADATA_FILE = "metadata.csv"
REQUIRED_COLUMNS = ("image", "lesion")

_LAYOUT = "lay the images out as train/<class>/ and test/<class>/, or as <class>/"


def read_folder(source: Path) -> list[SourceImage]:
    """List the images of a folder of class folders, whatever lies deeper in them included.

    A ``metadata.csv`` with the columns ``image`` (path, file name, or name without ending)
    and ``lesion``, and where known ``age``, ``sex``, ``site`` and ``source`` (the clinic or
    collection), tells which images show one lesion; otherwise each image is a lesion of its
    own. Images outside class folders, and rows without a file, are listed too, so that the
    import reports them.

    Raises
    ------
    DermaError
        When the folder is missing, has no class folders with files, has ``val/`` or
        ``test/`` but no ``train/``, or ``metadata.csv`` lacks a column.
    """
    if not source.is_dir():
        raise DermaError(f"{source}: no such folder; {_LAYOUT} and name the folder above")
    divided = _is_divided(source)
    paths = _image_paths(source, divided)
    places = [_place(path, divided) for path in paths]
    if not any(dx for _, dx in places):
        raise DermaError(f"{source}: no class folders with images; {_LAYOUT}")
    rows = _read_metadata(source / METADATA_FILE)
    images, used = [], set()
    for path, name, (split, dx) in zip(paths, _unique_names(paths), places, strict=True):
        key = next((key for key in (str(path), path.name, path.stem) if key in rows), None)
        used.add(key)
        row = rows.get(key, {}) if key else {}
        images.append(
            SourceImage(
                image=name,
                origin=str(source / path),
                read=(source / path).read_bytes,
                suffix=path.suffix.lower(),
                lesion=as_text(row.get("lesion", "")),
                dx=dx,
                split=split,
                age=as_age(row.get("age", "")),
                sex=as_text(row.get("sex", "")),
                site=as_text(row.get("site", "")),
                source=as_text(row.get("source", "")),
            )
        )
    images += [SourceImage(key, key, None) for key in rows if key not in used]
    return images


def _image_paths(source: Path, divided: bool) -> list[PurePosixPath]:
    """List all files in class folders and pictures elsewhere, but nothing hidden."""
    found = []
    for path in sorted(source.rglob("*")):
        relative = PurePosixPath(path.relative_to(source).as_posix())
        hidden = any(part.startswith(".") for part in relative.parts)
        _, dx = _place(relative, divided)
        if path.is_file() and not hidden and (dx or relative.suffix.lower() in IMAGE_SUFFIXES):
            found.append(relative)
    return found


def _is_divided(source: Path) -> bool:
    splits = [split for split in SPLITS if (source / split).is_dir()]
    if splits and "train" not in splits:
        raise DermaError(f"{source}: has {splits[0]}/ but no train/; {_LAYOUT}")
    return bool(splits)


def _place(path: PurePosixPath, divided: bool) -> tuple[str | None, str | None]:
    """Return the split and class that a path tells."""
    if not divided:
        return None, path.parts[0] if len(path.parts) > 1 else None
    if len(path.parts) > 2 and path.parts[0] in SPLITS:
        return path.parts[0], path.parts[1]
    return None, None


def _unique_names(paths: Sequence[PurePosixPath]) -> list[str]:
    """Name each image by its file, with the folders before it where that is not enough."""
    stems = Counter(path.stem for path in paths)
    longer = Counter("-".join(path.with_suffix("").parts) for path in paths)
    names = []
    for path in paths:
        long = "-".join(path.with_suffix("").parts)
        short = path.stem if stems[path.stem] == 1 else long
        names.append(short if longer[long] == 1 else "-".join(path.parts))
    return names


def _read_metadata(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    table = read_table(path)
    require_columns(path, table, REQUIRED_COLUMNS)
    return {row["image"].strip(): dict(row) for _, row in table.iterrows()}
