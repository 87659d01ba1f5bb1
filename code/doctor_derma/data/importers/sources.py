"""What a person points at, a table or a folder, read by whichever reader it is for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from doctor_derma.data.importers.dermamnist import DERMAMNIST, read_dermamnist
from doctor_derma.data.importers.folder import read_folder
from doctor_derma.data.importers.ham10000 import read_ham10000
from doctor_derma.data.importers.labelled import (
    Labels,
    read_labelled,
    recognise,
    recognise_table,
    require_layout,
    summary,
)
from doctor_derma.data.importers.pictures import find_pictures
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
        """The layout, what the images are, and their licence, in one line."""
        return f"{self.layout}: {summary(self.images)}. Licence: {self.licence}."


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
    labels = _named(found, table)
    pictures = [picture for folder in images or [table.parent] for picture in find_pictures(folder)]
    return _labelled(labels, table, read_labelled(labels, pictures))


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
    if published:
        labels = published[0]
        if labels.layout is presets()["ham10000"]:
            return _labelled(labels, folder, read_ham10000(folder))
        return _labelled(labels, folder, read_labelled(labels, find_pictures(folder)))
    if arrays := sorted(folder.glob("dermamnist*.npz"), key=_side):
        return _dermamnist(arrays[-1])
    try:
        name, place = shown(folder.resolve().name), shown(str(folder))
        return Source(
            name, place, "unknown", f"{place}, class folders", read_folder(folder, train=train)
        )
    except DermaError:
        if not found:
            raise
        labels = _named(found[0], folder)
        return _labelled(labels, folder, read_labelled(labels, find_pictures(folder)))


def _named(labels: Labels, place: Path) -> Labels:
    """Name the layout that most people's tables have after the table or folder."""
    if labels.layout.name != usual_layout().name:
        return labels
    name = shown(place.resolve().stem)
    return replace(labels, layout=replace(labels.layout, name=name))


def _labelled(labels: Labels, place: Path, images: list[SourceImage]) -> Source:
    layout = labels.layout
    tables = ", ".join(path.name for path in (*labels.tables, *labels.joined))
    reference = layout.reference or shown(str(place))
    title = f"{place}, {layout.title} ({tables})"
    return Source(layout.name, reference, layout.licence, title, images)


def _dermamnist(path: Path) -> Source:
    return Source(*DERMAMNIST, f"{path}, DermaMNIST", read_dermamnist(path))


def _side(path: Path) -> int:
    """Return the side of the pictures in a file of DermaMNIST, in its name unless it is 28."""
    found = re.search(r"_(\d+)$", path.stem)
    return int(found[1]) if found else 28
