"""Which columns of a table say what: published layouts, most people's own, and one's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from doctor_derma.errors import DermaError

# The class of a label that is left out, and the label that stands for all that aren't listed.
DROP = "drop"
OTHERS = "*"
# The settings of a layout that name columns.
COLUMNS = (
    *("image", "label", "lesion", "patient", "age", "sex"),
    *("site", "source", "split", "skin_tone"),
)


@dataclass(frozen=True)
class Layout:
    """Which columns of a table say what, and what its labels are called here.

    A column may have several names, as ``a|b``: the first that is there and filled counts.

    Attributes
    ----------
    name, title : for the command line, for people
    image : id, file name or path of the picture
    label : what the picture shows
    classes : columns of 0 and 1 or of ``X``, one a class, where there is no ``label``
    lesion, patient : what pictures of one lesion, of one patient share
    source : clinic or collection
    split : ``train``, ``val`` or ``test``, in any usual spelling
    labels : label to class, in any letter case; `DROP` leaves it out, `OTHERS` is all others,
        which are classes themselves unless it is there
    keep : column and the one value of it with which rows are used
    marks : further columns by which the layout is known
    split_by_table : the names of the tables say the split
    split_rows : split to the table whose column ``indexes`` has the row numbers of it, from 0
    reference, licence : as its publisher says
    """

    name: str = ""
    title: str = ""
    image: str = ""
    label: str = ""
    classes: tuple[str, ...] = ()
    lesion: str = ""
    patient: str = ""
    age: str = ""
    sex: str = ""
    site: str = ""
    source: str = ""
    split: str = ""
    skin_tone: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    split_by_table: bool = False
    split_rows: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    licence: str = "unknown"

    def class_of(self, label: str) -> str | None:
        """Return the class of a label, `DROP` where it is left out, None where there is none."""
        if not label:
            return None
        return self._by_label.get(label.casefold(), self._by_label.get(OTHERS, label))

    @cached_property
    def _by_label(self) -> dict[str, str]:
        return {label.casefold(): dx for label, dx in self.labels.items()}


@cache
def presets() -> dict[str, Layout]:
    """Return the published layouts by their names."""
    layouts = [adapted(Layout(), written, "presets") for written in _shipped()["presets"]]
    return {layout.name: layout for layout in layouts}


@cache
def usual_layout() -> Layout:
    """Return what most people call their columns."""
    return adapted(Layout(), _shipped()["usual"], "presets")


def preset_named(name: str) -> Layout:
    """Return a preset by its name; raise a ``DermaError`` where there is none."""
    if name.casefold() not in presets():
        raise DermaError(f"preset '{name}' is not known; the presets are {', '.join(presets())}")
    return presets()[name.casefold()]


def adapted(base: Layout, settings: Mapping[str, Any], where: str) -> Layout:
    """Return a layout with some of its settings changed.

    Other columns of labels have other labels: those of ``base`` go when the columns change.

    Parameters
    ----------
    settings : attributes of `Layout`
    where : named in errors

    Raises
    ------
    DermaError
        When a setting is unknown or is no text, no list of columns or no map.
    """
    kinds = {item.name: type(getattr(base, item.name)) for item in fields(Layout)}
    named = {str: "text", tuple: "a list of columns", dict: "a map", bool: "true or false"}
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in kinds:
            raise DermaError(f"{where}: '{name}' is no setting; they are {', '.join(kinds)}")
        kind = kinds[name]
        if not isinstance(value, list | tuple if kind is tuple else kind):
            raise DermaError(f"{where}: '{name}' is {value!r}, and should be {named[kind]}")
        if isinstance(value, Mapping):
            value = {str(key): str(one) for key, one in value.items()}
        elif kind is tuple:
            value = tuple(map(str, value))
        changes[name] = value
    if changes.get("label") or changes.get("classes"):
        base = replace(base, label="", classes=(), labels={})
    changes["labels"] = {**base.labels, **changes.get("labels", {})}
    return replace(base, **changes)


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings of a layout from YAML; raise a ``DermaError`` where it holds none."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DermaError(f"{path}: can't be read ({' '.join(str(error).split())})") from error
    if not isinstance(settings, dict):
        raise DermaError(f"{path}: holds no settings; write lines such as 'label: diagnosis'")
    return settings


@cache
def _shipped() -> dict[str, Any]:
    return read_settings(Path(__file__).with_suffix(".yaml"))
