"""From a source's images to ``train/``, ``test/``, a manifest and a report of what is amiss."""

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from doctor_derma.data.importers.pictures import reader
from doctor_derma.data.importers.records import (
    InspectedImage,
    Reason,
    ReportedImage,
    SourceImage,
    count_reasons,
    free_name,
    write_report,
)
from doctor_derma.data.importers.screening import inspect_images, screen
from doctor_derma.data.manifest import (
    COLUMNS,
    CORRECTIONS_FILE,
    DATASET_FILE,
    DROPPED_FOLDER,
    MANIFEST_FILE,
    OPTIONAL_COLUMNS,
    REPORT_FILE,
    Dataset,
    DatasetInfo,
    read_dataset,
    write_dataset,
)
from doctor_derma.data.splits import assign_splits, require_shares
from doctor_derma.errors import DermaError
from doctor_derma.terminal import with_progress

STAGING_FOLDER = ".import"
# The manifest leaves first and arrives last: where there is a manifest, all else is there.
# An import leaves the record of corrections, and what they dropped, as they are.
PARTS = (
    *("train", "test", DROPPED_FOLDER, CORRECTIONS_FILE),
    *(REPORT_FILE, DATASET_FILE, MANIFEST_FILE),
)
FAILED_REPORT_FILE = "failed_import_report.csv"
# What an image keeps when others are added to its data set, beside its class and source.
_CARRIED = ("lesion", "split", "age", "sex", "site", "patient", "skin_tone")


@dataclass(frozen=True)
class ImportSummary:
    """What became of the images of a source: ``seen`` = ``kept`` + ``left_out``.

    Attributes
    ----------
    seen : pictures, not counting rows of the metadata without one
    table : the manifest
    reported : rows of the report; those with ``kept`` are notes on images that stay
    """

    seen: int
    table: pd.DataFrame
    reported: tuple[ReportedImage, ...]

    @property
    def kept(self) -> int:
        """Number of images in the manifest."""
        return len(self.table)

    @property
    def left_out(self) -> int:
        """Number of pictures that are not in the manifest."""
        return sum(not report.kept for report in self.reported) - self.missing

    @property
    def missing(self) -> int:
        """Number of rows of the metadata that name no picture."""
        return sum(report.reason is Reason.MISSING for report in self.reported)

    @property
    def reasons(self) -> dict[str, int]:
        """Number of reported images by reason, most frequent first."""
        return count_reasons(self.reported)


def import_images(
    images: Sequence[SourceImage],
    info: DatasetInfo,
    destination: Path,
    *,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    place: str | None = None,
    add: bool = False,
) -> ImportSummary:
    """Check, split and copy images into ``destination``, replacing an earlier import there.

    Files are copied byte for byte to ``train/<class>/`` (train and val) and
    ``test/<class>/``. All is written to a folder inside ``destination`` first and moved
    into place at the end, the manifest last; other files there stay.

    Parameters
    ----------
    val, test, seed : see `doctor_derma.data.splits.assign_splits`
    place : where the images were read from, for errors; ``info.source`` when None
    add : keep the images of the earlier import, in their splits; new ones of a lesion that is
        there, by its name or by a near-identical picture, go into its split

    Raises
    ------
    DermaError
        When nothing usable is left, a class can't be split, ``destination`` holds images
        that no import wrote, or it can't be written to. What was there before stays. The
        message says what became of the files, and a report of all of them is written.
    """
    if not images:
        raise DermaError(
            f"{place or info.source}: no images found there; name a folder that holds some"
        )
    require_shares(val, test)
    with one_sentence(destination), staged_dataset(destination) as staging:
        if add and (destination / MANIFEST_FILE).is_file():
            images, info = _added(read_dataset(destination), images, info)
        usable, unusable = inspect_images(images)
        kept, noted = screen(usable)
        reported = (*unusable, *noted)
        classes, lesions = [image.dx for image in kept], [image.lesion for image in kept]
        given = [image.source.split for image in kept]
        try:
            splits = assign_splits(classes, lesions, given, val=val, test=test, seed=seed)
        except DermaError as error:
            raise DermaError(
                f"{place or info.source}: {error}{_what_became(images, reported, destination)}"
            ) from error
        table = _copy(kept, splits, staging)
        write_report(staging / REPORT_FILE, reported)
        write_dataset(staging, info, table)
    return ImportSummary(sum(image.read is not None for image in images), table, reported)


def _added(
    earlier: Dataset, images: Sequence[SourceImage], info: DatasetInfo
) -> tuple[list[SourceImage], DatasetInfo]:
    """Return the images of a data set and new ones, told apart by their source and name."""
    before = []
    for row in earlier.table.replace({np.nan: None}).to_dict("records"):
        path = earlier.folder / row["path"]
        before.append(
            SourceImage(
                image=row["image"],
                origin=str(path),
                read=reader(path),
                suffix=path.suffix,
                dx=row["class"],
                source=row["source"] or earlier.info.name,
                **{name: row[name] for name in _CARRIED if row.get(name) not in ("", None)},
            )
        )
    taken = {image.image for image in before}
    after = []
    for image in images:
        name = f"{info.name}-{image.image}" if image.image in taken else image.image
        source = image.source or info.name
        after.append(replace(image, image=free_name(name, taken), source=source))
    both = {
        name: ", ".join(dict.fromkeys([getattr(earlier.info, name), getattr(info, name)]))
        for name in ("name", "source", "licence")
    }
    return [*before, *after], DatasetInfo(**both, seed=info.seed)


def _what_became(
    images: Sequence[SourceImage], reported: Sequence[ReportedImage], destination: Path
) -> str:
    """Write the report of an import that fails, and sum it up, with an example of each reason."""
    gone = [report for report in reported if not report.kept]
    if not gone:
        return ""
    # The report of an earlier import belongs to what it brought.
    earlier = (destination / MANIFEST_FILE).exists()
    path = destination / (FAILED_REPORT_FILE if earlier else REPORT_FILE)
    write_report(path, reported)
    first = {str(report.reason): report for report in reversed(gone)}
    reasons = ", ".join(
        f"{reason} {count:,} (first {first[reason].image}: {first[reason].detail})"
        for reason, count in count_reasons(gone).items()
    )
    return f". {len(gone):,} of {len(images):,} can't be used: {reasons}. All are in {path}"


@contextmanager
def one_sentence(destination: Path) -> Iterator[None]:
    """Let what goes wrong on the disk be a sentence that names the folder."""
    try:
        yield
    except OSError as error:
        raise DermaError(
            f"{destination}: can't be written ({error.strerror or error}); free some space or "
            "choose another folder"
        ) from error


def _copy(images: list[InspectedImage], splits: list[str], staging: Path) -> pd.DataFrame:
    """Copy the images to their folders, and return the manifest."""
    paths = []
    taken: set[str] = set()
    steps = zip(images, splits, strict=True)
    for image, split in with_progress(steps, "Copying images", len(images)):
        if image.dx.startswith(".") or "/" in image.dx or "\\" in image.dx:
            raise DermaError(
                f"class '{image.dx}' can't be a folder's name; rename it without / \\ or a dot"
            )
        assert image.source.read is not None
        encoded = image.source.read()
        if hashlib.sha256(encoded).hexdigest() != image.sha256:
            raise DermaError(f"{image.source.origin}: changed during the import; import again")
        name = re.sub(r"[^\w.-]+", "_", image.source.image).lstrip(".") or "image"
        folder = f"{'test' if split == 'test' else 'train'}/{image.dx}"
        paths.append(free_path(f"{folder}/{name}", image.source.suffix, taken))
        (staging / folder).mkdir(parents=True, exist_ok=True)
        (staging / paths[-1]).write_bytes(encoded)
    told = ("image", "age", "sex", "site", *OPTIONAL_COLUMNS)
    found = ("lesion", "width", "height", "sha256")
    columns = {name: [getattr(image.source, name) for image in images] for name in told}
    columns |= {name: [getattr(image, name) for image in images] for name in found}
    columns |= {"class": [image.dx for image in images], "split": splits, "path": paths}
    columns["source"] = [image.source.source or "" for image in images]
    table = pd.DataFrame(columns)[[*COLUMNS, *OPTIONAL_COLUMNS]]
    return table.drop(columns=[name for name in OPTIONAL_COLUMNS if table[name].isna().all()])


def free_path(stem: str, suffix: str, taken: set[str]) -> str:
    """Return a path that no other has, even where capitals don't count, and take it."""
    path, copy = f"{stem}{suffix}", 1
    while path.lower() in taken:
        copy += 1
        path = f"{stem}_{copy}{suffix}"
    taken.add(path.lower())
    return path


@contextmanager
def staged_dataset(destination: Path) -> Iterator[Path]:
    """Give an empty folder whose data set replaces the one in ``destination`` at the end.

    What the new one lacks of ``PARTS`` stays. The folder lies inside ``destination``, so the
    last step only renames. When the block raises, nothing but the folder itself was touched,
    and it goes; when a rename fails or is interrupted, those before it are undone. When the
    process is killed, the old data set stays; killed between two renames, it leaves no manifest,
    and the next import first finishes these renames.

    Raises
    ------
    DermaError
        When ``train/`` or ``test/`` holds files that no import wrote.
    """
    staging = destination / STAGING_FOLDER
    new, old = staging / "new", staging / "old"
    end_renames(destination)
    shutil.rmtree(staging, ignore_errors=True)
    _refuse_foreign_files(destination)
    new.mkdir(parents=True)
    replaced = []
    try:
        yield new
        replaced = [part for part in PARTS if (new / part).exists()]
        old.mkdir()
        _move_in(new, destination, old)
    except BaseException:
        for part in replaced:
            if not (new / part).exists():
                (destination / part).replace(new / part)
            if (old / part).exists():
                (old / part).replace(destination / part)
        # Not where one of these fails: the old data set is still in there.
        shutil.rmtree(staging, ignore_errors=True)
        raise
    shutil.rmtree(staging, ignore_errors=True)


def end_renames(destination: Path) -> None:
    """End what a process began that was killed between two renames, if there is such a thing."""
    staging = destination / STAGING_FOLDER
    if (staging / "old").exists():
        _move_in(staging / "new", destination, staging / "old")


def _refuse_foreign_files(destination: Path) -> None:
    try:
        known = set(pd.read_csv(destination / MANIFEST_FILE, usecols=["path"], dtype=str)["path"])
    except (FileNotFoundError, ValueError):
        known = set()
    for part in ("train", "test"):
        for path in (destination / part).rglob("*"):
            relative = path.relative_to(destination).as_posix()
            if path.is_file() and not path.name.startswith(".") and relative not in known:
                raise DermaError(
                    f"{path}: no import wrote this file and an import would delete it; move "
                    f"{destination / part} elsewhere and import it from there"
                )


def _move_in(new: Path, destination: Path, old: Path) -> None:
    """Do those of the renames that haven't been done."""
    for part in reversed(PARTS):
        if (new / part).exists() and (destination / part).exists():
            (destination / part).replace(old / part)
    for part in PARTS:
        if (new / part).exists():
            (new / part).replace(destination / part)
