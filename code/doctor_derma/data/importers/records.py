"""What the readers of a source hand to the import: one record an image, read lazily."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import numpy as np


class Reason(StrEnum):
    """Why an image is in the import report."""

    CORRUPT = "corrupt"
    UNSUPPORTED = "unsupported-format"
    TRUNCATED = "truncated"
    MISSING = "missing"
    UNLABELLED = "unlabelled"
    DROPPED = "dropped"
    DUPLICATE_BYTES = "duplicate-bytes"
    CONFLICTING_LABELS = "conflicting-labels"
    NEAR_IDENTICAL = "near-identical"
    LESION_CROSSES_SPLITS = "lesion-crosses-splits"


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of a source, as its metadata describes it.

    Attributes
    ----------
    image : name of the image, unique in its source
    origin : where it lies, for people
    read : gives the encoded bytes; None where the metadata names a file that isn't there
    suffix : ending of the file that is written, such as ``.jpg``
    lesion : what images of one lesion share; None makes the image its own lesion
    dx : short class name; None where it isn't known
    split : ``train``, ``val`` or ``test`` where the source is already divided
    age : in years
    source : clinic or collection that it is from
    patient : what images of one patient share
    skin_tone : as the source writes it, such as a Fitzpatrick type
    left_out : why it is left out on purpose, where it is
    """

    image: str
    origin: str
    read: Callable[[], bytes] | None
    suffix: str = ".jpg"
    lesion: str | None = None
    dx: str | None = None
    split: str | None = None
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    source: str | None = None
    patient: str | None = None
    skin_tone: str | None = None
    left_out: str | None = None


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """A labelled image that decodes.

    Attributes
    ----------
    width, height : pixels, upright
    thumbnail : uint8 array of shape (16, 16, 3), the mean colours of a 16x16 grid
    """

    source: SourceImage
    dx: str
    lesion: str
    sha256: str
    width: int
    height: int
    thumbnail: np.ndarray


@dataclass(frozen=True, slots=True)
class ReportedImage:
    """A row of an import report; ``kept`` images are in the data set all the same."""

    image: str
    reason: StrEnum
    detail: str
    kept: bool = False


def unique_names(paths: Sequence[PurePosixPath]) -> list[str]:
    """Name each image by its file, with the folders before it where that is not enough."""
    stems = Counter(path.stem for path in paths)
    longer = ["-".join(path.with_suffix("").parts) for path in paths]
    times = Counter(longer)
    names: list[str] = []
    taken: set[str] = set()
    for path, long in zip(paths, longer, strict=True):
        short = path.stem if stems[path.stem] == 1 else long
        names.append(free_name(short if times[long] == 1 else "-".join(path.parts), taken))
    return names


def free_name(name: str, taken: set[str]) -> str:
    """Return a name, with a number after it where it is taken, and take it."""
    free, copy = name, 1
    while free in taken:
        copy += 1
        free = f"{name}-{copy}"
    taken.add(free)
    return free


def lesion_id(written: str, source: str) -> str | None:
    """Return what a table calls a lesion, None where it says nothing.

    A mere number is another lesion in the next data set, so the name of the source goes before it.
    """
    lesion = written.strip()
    return f"{source} {lesion}" if lesion.isdecimal() else lesion or None


def count_reasons(reported: Iterable[ReportedImage]) -> dict[str, int]:
    """Return the number of reported images by reason, most frequent first."""
    return dict(Counter(str(report.reason) for report in reported).most_common())


def write_report(path: Path, reported: Iterable[ReportedImage], *, kept: bool = True) -> None:
    """Write a report as CSV, with or without a column that says which images are kept."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "reason", "detail", *["kept"] * kept])
        for report in reported:
            said = ["yes" if report.kept else "no"] * kept
            writer.writerow([report.image, report.reason, report.detail, *said])
