"""What a person points at, a table or a folder, read by whichever reader it is for."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from doctor_derma.data.importers.folder import read_folder
from doctor_derma.data.importers.ham10000 import read_ham10000
from doctor_derma.data.importers.labelled import (
    Labels,
    read_labelled,
    recognise,
    recognise_table,
    require_layout,
)
from doctor_derma.data.importers.pictures import READ_ERRORS, PictureFile, find_pictures
from doctor_derma.data.importers.presets import (
    COLUMNS,
    adapted,
    preset_named,
    presets,
    read_settings,
    usual_layout,
)
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.importers.tables import shown
from doctor_derma.data.manifest import SPLITS
from doctor_derma.errors import DermaError


@dataclass(frozen=True)
class Source:
    """Images to import, where they come from, and what they were taken for."""

    name: str
    reference: str
    licence: str
    layout: str
    images: list[SourceImage]

    @property
    def description(self) -> str:
        """The layout, what the images are, and their licence, in one line.

        Of the images it tells the classes, lesions and splits, and how many are left out.
        """
        usable = [image for image in self.images if image.read and image.dx]
        lesions = {image.lesion for image in usable}
        alone = sum(image.lesion is None for image in usable)
        splits = _counted(image.split for image in usable if image.split)
        left_out = sum(image.left_out is not None for image in self.images)
        missing = sum(image.read is None for image in self.images)
        parts = [
            f"{len(usable):,} pictures with a class",
            _counted(image.dx for image in usable if image.dx),
            f"{len(lesions - {None}):,} lesions or patients"
            + (f", and {alone:,} pictures of which none is known" if alone else ""),
            f"splits as given: {splits}" if splits else "no splits given",
            *([f"{left_out:,} left out by their label or kind"] if left_out else []),
            *([f"{missing:,} rows without a picture"] if missing else []),
        ]
        return f"{self.layout}: {'; '.join(parts)}. Licence: {self.licence}."


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(Counter(names).items()))


def table_source(
    table: Path,
    images: Sequence[Path] | None = None,
    *,
    preset: str | None = None,
    columns: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Source:
    """Read pictures that a table labels.

    Parameters
    ----------
    images : folders and archives with the pictures; the table's folder when None
    preset : name of a published layout; found by the table's columns when None
    columns : YAML with settings of `doctor_derma.data.importers.presets.Layout`
    settings : the same, which go before

    Raises
    ------
    DermaError
        When a file can't be read, a column is missing, or no row names a picture.
    """
    if table.suffix.lower() == ".npz":
        return _dermamnist(table)
    chosen = preset_named(preset) if preset else None
    recognised = None if chosen else recognise_table(table)
    base = chosen or (recognised.layout if recognised else usual_layout())
    written = read_settings(columns) if columns else {}
    layout = adapted(adapted(base, written, str(columns)), settings or {}, str(table))
    named = {name: getattr(layout, name) for name in {**written, **(settings or {})}}
    found = require_layout(table, layout, [named[name] for name in COLUMNS if named.get(name)])
    pictures = [picture for folder in images or [table.parent] for picture in find_pictures(folder)]
    return _labelled(found, table, pictures)


def find_source(folder: Path, *, train: bool = True) -> Source:
    """Find out how a folder is laid out, and read it.

    Parameters
    ----------
    train : whether class folders that are divided need a ``train/``; not to be judged by

    Raises
    ------
    DermaError
        When no layout fits, or several published ones do.
    """
    if not folder.is_dir():
        raise DermaError(f"{folder}: no such folder; name the one with the pictures and tables")
    found = recognise(folder)
    published = [labels for labels in found if labels.layout is not usual_layout()]
    if len(published) > 1:
        titles = ", ".join(f"{one.layout.name} ({one.tables[0].name})" for one in published)
        raise DermaError(
            f"{folder}: can be {titles}; choose with 'derma data import table TABLE --preset NAME'"
        )
    if not published:
        if arrays := sorted(folder.glob("dermamnist*.npz"), key=_side):
            return _dermamnist(arrays[-1])
        name, place = shown(folder.resolve().name), shown(str(folder))
        try:
            images = read_folder(folder, train=train)
            return Source(name, place, "unknown", f"{place}, class folders", images)
        except DermaError:
            if not found:
                raise
    labels = found[0]
    if labels.layout is presets()["ham10000"]:
        return _source(labels, folder, read_ham10000(folder))
    return _labelled(labels, folder, find_pictures(folder))


def _labelled(labels: Labels, place: Path, pictures: Sequence[PictureFile]) -> Source:
    """Read a layout; the one that most people's tables have is named after its table or folder."""
    if labels.layout.name == usual_layout().name:
        name = shown(place.resolve().stem)
        labels = replace(labels, layout=replace(labels.layout, name=name))
    return _source(labels, place, read_labelled(labels, pictures))


def _source(labels: Labels, place: Path, images: list[SourceImage]) -> Source:
    layout = labels.layout
    tables = ", ".join(path.name for path in (*labels.tables, *labels.joined))
    title = f"{place}, {layout.title} ({tables})"
    reference = layout.reference or shown(str(place))
    return Source(layout.name, reference, layout.licence, title, images)


def _side(path: Path) -> int:
    """Return the side of the pictures in a file of DermaMNIST, in its name unless it is 28."""
    found = re.search(r"_(\d+)$", path.stem)
    return int(found[1]) if found else 28


def _dermamnist(path: Path) -> Source:
    """Read DermaMNIST, HAM10000 made small, in its splits, from one of MedMNIST's ``.npz`` files.

    Yang et al.: "MedMNIST v2, a large-scale lightweight benchmark for 2D and 3D biomedical image
    classification", Scientific Data 10:41, 2023, doi:10.1038/s41597-022-01721-8. The file doesn't
    say which pictures are of one lesion, and its splits part some.
    """
    classes = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    try:
        # Objects could run code when they are read.
        with np.load(path, allow_pickle=False) as arrays:
            parts = [(arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in SPLITS]
        images = [
            SourceImage(
                image=f"dermamnist_{split}_{number:05d}",
                origin=f"{path}:{split}_images[{number}]",
                read=partial(_png, picture),
                suffix=".png",
                dx=classes[int(label)],
                split=split,
            )
            for split, (pictures, labels) in zip(SPLITS, parts, strict=True)
            for number, (picture, label) in enumerate(zip(pictures, labels.ravel(), strict=True))
        ]
    except (*READ_ERRORS, EOFError, ValueError, KeyError, IndexError) as error:
        raise DermaError(
            f"{path}: not a file of DermaMNIST ({error}); download dermamnist.npz again"
        ) from error
    reference, licence = "doi:10.5281/zenodo.10519652", "CC BY-NC 4.0"
    return Source("dermamnist", reference, licence, f"{path}, DermaMNIST", images)


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()
