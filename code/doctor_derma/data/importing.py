"""From a source's images to ``train/``, ``test/``, a manifest and a report of what is amiss."""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import track

from doctor_derma.data.inspection import inspect_images
from doctor_derma.data.manifest import (
    COLUMNS,
    REPORT_FILE,
    DatasetInfo,
    write_dataset,
)
from doctor_derma.data.records import InspectedImage, ReportedImage, SourceImage
from doctor_derma.data.screening import Screened, screen
from doctor_derma.data.splits import assign_splits
from doctor_derma.data.staging import staged_dataset
from doctor_derma.errors import DermaError

REPORT_COLUMNS = ("image", "reason", "detail", "kept")


@dataclass(frozen=True)
class ImportSummary:
    """What became of the images of a source: ``seen`` = ``kept`` + ``left_out``.

    Attributes
    ----------
    table : the manifest
    reported : rows of the report; those with ``kept`` are notes on images that stay
    """

    seen: int
    table: pd.DataFrame
    reported: tuple[ReportedImage, ...]

    @property
    def kept(self) -> int:
        return len(self.table)

    @property
    def left_out(self) -> int:
        return sum(not report.kept for report in self.reported)

    @property
    def reasons(self) -> dict[str, int]:
        """Number of reported images by reason, most frequent first."""
        return dict(Counter(str(report.reason) for report in self.reported).most_common())


def import_images(
    images: Sequence[SourceImage],
    info: DatasetInfo,
    destination: Path,
    *,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
) -> ImportSummary:
    """Check, split and copy images into ``destination``, replacing an earlier import there.

    Files are copied byte for byte to ``train/<class>/`` (train and val) and
    ``test/<class>/``. All is written to a folder inside ``destination`` first and moved
    into place at the end, the manifest last; other files there stay.

    Parameters
    ----------
    val, test, seed : see `doctor_derma.data.splits.assign_splits`

    Raises
    ------
    DermaError
        When nothing usable is left, a class can't be split, ``destination`` holds images
        that no import wrote, or it can't be written to. What was there before stays.
    """
    if not images:
        raise DermaError(f"{info.source}: no images found there; name a folder that holds some")
    with _one_sentence(destination), staged_dataset(destination) as staging:
        usable, unusable = inspect_images(images)
        screened = screen(usable)
        given = [image.source.split for image in screened.images]
        splits = assign_splits(
            [image.dx for image in screened.images],
            screened.lesions,
            given if any(given) else None,
            val=val,
            test=test,
            seed=seed,
        )
        table = _copy(screened, splits, staging)
        reported = (*unusable, *screened.reported)
        _write_report(staging / REPORT_FILE, reported)
        write_dataset(staging, info, table)
    return ImportSummary(len(images), table, reported)


@contextmanager
def _one_sentence(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DermaError(
            f"{destination}: can't be written ({error.strerror or error}); free some space or "
            "choose another folder"
        ) from error


def _copy(screened: Screened, splits: Sequence[str], staging: Path) -> pd.DataFrame:
    rows = []
    taken: set[str] = set()
    for image, lesion, split in track(
        list(zip(screened.images, screened.lesions, splits, strict=True)),
        "Copying images",
        console=Console(stderr=True),
    ):
        path = _free_path(image, split, taken)
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).write_bytes(_read_again(image))
        rows.append(_manifest_row(image, lesion, split, path))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _free_path(image: InspectedImage, split: str, taken: set[str]) -> str:
    """Return a path that no other image has, even where capitals don't count."""
    folder = f"{'test' if split == 'test' else 'train'}/{_class_folder(image.dx)}"
    name = re.sub(r"[^\w.-]+", "_", image.source.image).lstrip(".") or "image"
    path, copy = f"{folder}/{name}{image.source.suffix}", 1
    while path.lower() in taken:
        copy += 1
        path = f"{folder}/{name}_{copy}{image.source.suffix}"
    taken.add(path.lower())
    return path


def _class_folder(dx: str) -> str:
    if dx.startswith(".") or "/" in dx or "\\" in dx:
        raise DermaError(f"class '{dx}' can't be a folder's name; rename it without / \\ or a dot")
    return dx


def _read_again(image: InspectedImage) -> bytes:
    assert image.source.read is not None
    encoded = image.source.read()
    if hashlib.sha256(encoded).hexdigest() != image.sha256:
        raise DermaError(f"{image.source.origin}: changed during the import; import again")
    return encoded


def _manifest_row(image: InspectedImage, lesion: str, split: str, path: str) -> dict:
    source = image.source
    return {
        "image": source.image,
        "lesion": lesion,
        "class": image.dx,
        "split": split,
        "age": source.age,
        "sex": source.sex,
        "site": source.site,
        "source": source.source or "",
        "width": image.width,
        "height": image.height,
        "sha256": image.sha256,
        "path": path,
    }


def _write_report(path: Path, reported: Iterable[ReportedImage]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(REPORT_COLUMNS)
        for report in reported:
            kept = "yes" if report.kept else "no"
            writer.writerow([report.image, report.reason, report.detail, kept])
