"""A data set as files for others: its table and a card, its pictures only where that is asked.

The card's head is in the form that the Hugging Face Hub reads
(https://huggingface.co/docs/hub/datasets-cards).
"""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from doctor_derma.data.manifest import DATASET_FILE, MANIFEST_FILE, SPLITS, Dataset, DatasetInfo
from doctor_derma.errors import DermaError

CARD_FILE = "README.md"
UNKNOWN = "unknown"
# Licences by the names that the hub has for them; any other is 'other' there.
_KNOWN = {"cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "mit"}
# Such as doi: and https:, and anything but a path.
_REFERENCE = re.compile(r"[a-z][a-z0-9+.-]*:|[^/]*$")


def table_files(dataset: Dataset, licence: str | None, pictures: bool) -> dict[str, Path | bytes]:
    """Return the files of a data set but for its pictures: name -> file, or its content.

    ``dataset.json`` tells nothing of the folders of this machine.

    Parameters
    ----------
    licence : of the data, where ``dataset.json`` knows none
    pictures : whether the card says that pictures are there, too

    Raises
    ------
    DermaError
        When another licence is named than ``dataset.json`` has.
    """
    info = replace(
        dataset.info,
        source=_without_place(dataset.info.source),
        licence=_licence(dataset.info, licence),
    )
    return {
        DATASET_FILE: (json.dumps(asdict(info), indent=2) + "\n").encode(),
        CARD_FILE: card(replace(dataset, info=info), pictures).encode(),
        MANIFEST_FILE: dataset.folder / MANIFEST_FILE,
    }


def picture_files(dataset: Dataset) -> dict[str, Path]:
    """Return the pictures of a data set: name -> file.

    Raises
    ------
    DermaError
        When one is not there.
    """
    files = {str(path): dataset.folder / path for path in dataset.table["path"]}
    for file in files.values():
        if not file.is_file():
            raise DermaError(f"{file}: missing; import the data again")
    return files


def card(dataset: Dataset, pictures: bool) -> str:
    """Return a card of a data set, Markdown with a YAML head: what it is, and whose."""
    info, table = dataset.info, dataset.table
    licence = _slug(info.licence)
    head: dict[str, object] = {"license": licence if licence in _KNOWN else "other"}
    if licence not in _KNOWN:
        head["license_name"] = licence
    head |= {
        "pretty_name": info.name,
        "task_categories": ["image-classification"],
        "tags": ["dermatoscopy", "skin-lesion", "not-a-medical-device"],
        "configs": [{"config_name": "default", "data_files": MANIFEST_FILE}],
    }
    counts = table.groupby(["class", "split"]).size().unstack(fill_value=0)
    rows = [
        f"| {name} | {' | '.join(f'{counts.loc[name].get(split, 0):,}' for split in SPLITS)} |"
        for name in dataset.classes
    ]
    where = (
        "Its pictures are beside it, under the paths of its column `path`; whoever put them here "
        f"has said that their licence, {info.licence}, allows it."
        if pictures
        else f"**Its pictures are not here.** They are under {info.licence}; get them where they "
        "are published. The column `sha256` tells whether a picture is the one that is meant."
    )
    return f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip()}
---

# {info.name}

{info.source}

`{MANIFEST_FILE}` is the table of {len(table):,} dermatoscopic images of \
{table["lesion"].nunique():,} lesions, as `derma data import` made it: image, lesion, class and
split, what is known of the patient, and the SHA-256 of each file. All images of a lesion are in one
split. Its own SHA-256 is `{dataset.fingerprint}`, which models that were trained on it carry.

{where}

| class | {" | ".join(SPLITS)} |
| --- | {" | ".join("---" for _ in SPLITS)} |
{chr(10).join(rows)}

Not for diagnosis: Doctor Derma is not a medical device.
"""


def _licence(info: DatasetInfo, named: str | None) -> str:
    known = info.licence.strip().lower() not in ("", UNKNOWN)
    if named and known and _slug(named) != _slug(info.licence):
        raise DermaError(
            f"--licence {named}: {DATASET_FILE} says that the data are under '{info.licence}'; "
            "name that, or import them with the licence that they have"
        )
    return info.licence if known or not named else named


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or UNKNOWN


def _without_place(source: str) -> str:
    """Leave the names of folders of this machine only; references stay as they are."""
    parts = source.split(", ")
    return ", ".join(part if _REFERENCE.match(part) else Path(part).name for part in parts)
