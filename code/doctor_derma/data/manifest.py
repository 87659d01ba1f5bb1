"""The manifest: one row an image, the only thing later stages read about the data."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from doctor_derma.atomic import replacing_file
from doctor_derma.errors import DermaError

MANIFEST_FILE = "manifest.csv"
DATASET_FILE = "dataset.json"
REPORT_FILE = "import_report.csv"
# What was corrected after the import, and the images that were dropped.
CORRECTIONS_FILE = "corrections.csv"
DROPPED_FOLDER = "dropped"
SPLITS = ("train", "val", "test")
# "source" is the clinic or collection an image is from, empty where that isn't known.
COLUMNS = (
    *("image", "lesion", "class", "split", "age", "sex"),
    *("site", "source", "width", "height", "sha256", "path"),
)
# Written where a source tells them of any image.
OPTIONAL_COLUMNS = ("patient", "skin_tone")
_TEXT = (*OPTIONAL_COLUMNS, "image", "lesion", "class", "split", "source", "sha256", "path")


@dataclass(frozen=True)
class DatasetInfo:
    """Where a data set comes from; kept in ``dataset.json``."""

    name: str
    source: str
    licence: str
    seed: int


@dataclass(frozen=True)
class Dataset:
    """An imported data set.

    Attributes
    ----------
    folder : the ``data/`` folder
    table : DataFrame with the columns of ``COLUMNS``, and those of ``OPTIONAL_COLUMNS`` that are
        known; ``path`` is relative to ``folder``
    classes : short class names, sorted; a network's output i is ``classes[i]``
    """

    folder: Path
    info: DatasetInfo
    table: pd.DataFrame
    classes: tuple[str, ...]
    fingerprint: str

    def split(self, name: str) -> pd.DataFrame:
        """Return the rows of one split, in manifest order, with a fresh index."""
        return self.table[self.table["split"] == name].reset_index(drop=True)

    def targets(self, rows: pd.DataFrame) -> list[int]:
        """Return the class index of each row."""
        index = {name: position for position, name in enumerate(self.classes)}
        return [index[name] for name in rows["class"]]


def write_dataset(folder: Path, info: DatasetInfo, table: pd.DataFrame) -> None:
    """Write ``dataset.json`` and ``manifest.csv``, the manifest last."""
    with replacing_file(folder / DATASET_FILE) as scratch:
        scratch.write_text(json.dumps(asdict(info), indent=2) + "\n")
    with replacing_file(folder / MANIFEST_FILE) as scratch:
        known = [column for column in OPTIONAL_COLUMNS if column in table.columns]
        table.to_csv(scratch, columns=[*COLUMNS, *known], index=False)


def read_dataset(folder: Path) -> Dataset:
    """Read an imported data set.

    Raises
    ------
    DermaError
        When nothing was imported there, a column is missing, or the split can't train
        a classifier (fewer than two classes, an empty split, an unknown split name).
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise DermaError(
            f"{path}: no data set here; run 'derma data import ham10000 DIR', "
            "'derma data import auto DIR' or 'derma data synthesize' first"
        )
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(_TEXT, str),
            # Only these may be unknown: a class may be called "NA".
            keep_default_na=False,
            na_values={"age": [""], "sex": [""], "site": [""]},
        )
        info = DatasetInfo(**json.loads((folder / DATASET_FILE).read_text()))
    except (ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DermaError(f"{path}: can't be read ({reason}); import the data again") from error
    if "source" not in table.columns:
        # Data sets of before this column stay what they were, with their fingerprint.
        table["source"] = ""
    if missing := [column for column in COLUMNS if column not in table.columns]:
        raise DermaError(f"{path}: column '{missing[0]}' is missing; import the data again")
    splits = set(table["split"])
    if unknown := sorted(splits - set(SPLITS)):
        raise DermaError(f"{path}: unknown split '{unknown[0]}'; use {', '.join(SPLITS)}")
    if empty := [split for split in SPLITS if split not in splits]:
        raise DermaError(f"{path}: no image in the {empty[0]} split; import the data again")
    classes = tuple(sorted(table["class"].unique()))
    if len(classes) < 2:
        raise DermaError(f"{path}: {len(classes)} class; a classifier needs at least two")
    fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
    return Dataset(folder, info, table, classes, fingerprint)
