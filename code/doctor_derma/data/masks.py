"""Lesion masks: which pixels of an image are lesion, kept as ``masks/<image>.png``."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.cpus import usable_cpus
from doctor_derma.data.importers.importing import one_sentence
from doctor_derma.data.importers.pictures import READ_ERRORS, PictureFile, find_pictures
from doctor_derma.data.importers.records import ReportedImage, count_reasons, write_report
from doctor_derma.data.importers.tables import same_name
from doctor_derma.data.manifest import REPORT_FILE, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import UnreadableImage, open_image
from doctor_derma.terminal import with_progress

MASKS_FOLDER = "masks"
# As in the archive: ISIC_0024306.jpg has the mask ISIC_0024306_segmentation.png.
MASK_ENDING = "_segmentation"
# Rounding to whole pixels changes the proportions of small pictures by about this much.
ASPECT_TOLERANCE = 0.02
# The edge of a mask that was scaled is grey, a picture is grey all over.
MOST_GREY = 0.1


class MaskReason(StrEnum):
    """Why an image or a mask is in the report of the masks."""

    NO_MASK = "no-mask"
    NO_IMAGE = "no-image"
    DUPLICATE = "duplicate"
    UNREADABLE = "unreadable"
    WRONG_SHAPE = "wrong-shape"
    NOT_BINARY = "not-binary"
    EMPTY = "empty"


@dataclass(frozen=True)
class MaskSummary:
    """What became of the masks of a source.

    Attributes
    ----------
    seen, kept : masks in the source, masks that were written
    reported : rows of ``masks/import_report.csv``
    """

    seen: int
    kept: int
    reported: tuple[ReportedImage, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """Number of reported images and masks by reason, most frequent first."""
        return count_reasons(self.reported)


def read_mask(folder: Path, image: str) -> np.ndarray | None:
    """Read the lesion mask of an image.

    Parameters
    ----------
    folder : the ``data/`` folder
    image : name of the image in the manifest

    Returns
    -------
    bool [H, W] in the size of the upright image, True inside the lesion; None where there
    is no mask

    Raises
    ------
    DermaError
        When the file can't be decoded.
    """
    path = _mask_path(folder / MASKS_FOLDER, image)
    if not path.is_file():
        return None
    try:
        return np.asarray(open_image(path, least_side=None))[..., 0] > 127
    except UnreadableImage as error:
        raise DermaError(f"{path}: {error}; import the masks again") from error


def import_masks(source: Path, folder: Path) -> MaskSummary:
    """Write the masks of the manifest's images to ``masks/``, replacing earlier ones.

    A mask is light inside the lesion and dark outside, or 1 inside and 0 outside. One of
    another size but the same proportions is scaled to its image. Everything is written
    beside ``masks/`` and renamed at the end, with ``masks/import_report.csv``, which lists
    what isn't usable. The manifest stays as it is.

    Parameters
    ----------
    source : folder or zip archive of pictures named ``<image>_segmentation``, such as
        ``HAM10000_segmentations_lesion_tschandl.zip``; where none is named so, all pictures
        count, each named as its image
    folder : the ``data/`` folder, which holds the manifest

    Raises
    ------
    DermaError
        When there is no data set, no usable mask of one of its images, ``masks/`` holds
        files that no import wrote, or it can't be written. Earlier masks stay.
    """
    table = read_dataset(folder).table
    sizes = dict(
        zip(table["image"], zip(table["width"], table["height"], strict=True), strict=True)
    )
    pictures = find_pictures(source)
    if not pictures:
        raise DermaError(
            f"{source}: no masks found; they are pictures named IMAGE{MASK_ENDING}.png or "
            "IMAGE.png, in a folder or a zip archive"
        )
    files = [file for file in pictures if _is_named(file)] or pictures
    chosen, reported = _choose(files, sizes)
    masks = folder / MASKS_FOLDER
    with one_sentence(masks), replacing_own_folder(masks, REPORT_FILE) as staging:

        def write(image: str) -> ReportedImage | None:
            return _write_mask(image, chosen[image], sizes[image], _mask_path(staging, image))

        with ThreadPoolExecutor(usable_cpus()) as threads:
            outcomes = with_progress(threads.map(write, chosen), "Importing masks", len(chosen))
            unusable = [outcome for outcome in outcomes if outcome]
        reported += unusable
        kept = len(chosen) - len(unusable)
        if kept == 0:
            raise DermaError(
                f"{source}: none of {len(files):,} masks can be used ({reported[0].image}: "
                f"{reported[0].detail}); name the masks of the images in {folder}"
            )
        reported += [
            ReportedImage(name, MaskReason.NO_MASK, f"no mask in {source}")
            for name in sizes
            if name not in chosen
        ]
        write_report(staging / REPORT_FILE, reported, kept=False)
    return MaskSummary(len(files), kept, tuple(reported))


def _is_named(file: PictureFile) -> bool:
    return file.stem.casefold().endswith(MASK_ENDING)


def _choose(
    files: list[PictureFile], images: Iterable[str]
) -> tuple[dict[str, PictureFile], list[ReportedImage]]:
    """Take the first mask of each image of the manifest."""
    known = {same_name(name): name for name in images}
    chosen: dict[str, PictureFile] = {}
    reported = []
    for file in files:
        written = file.stem[: -len(MASK_ENDING)] if _is_named(file) else file.stem
        image = known.get(same_name(written))
        if image is None:
            detail = f"{file.path}: no image of this name in the data set"
            reported.append(ReportedImage(written, MaskReason.NO_IMAGE, detail))
        elif image in chosen:
            detail = f"{file.path}: {chosen[image].path} is taken"
            reported.append(ReportedImage(image, MaskReason.DUPLICATE, detail))
        else:
            chosen[image] = file
    return chosen, reported


def _write_mask(
    image: str, file: PictureFile, size: tuple[int, int], path: Path
) -> ReportedImage | None:
    """Write the mask of an image of ``size``, (width, height); or return why there is none."""

    def bad(reason: MaskReason, detail: object) -> ReportedImage:
        return ReportedImage(image, reason, f"{file.path}: {detail}")

    try:
        picture = open_image(file.read(), least_side=None).convert("L")
    except (UnreadableImage, *READ_ERRORS) as error:
        return bad(MaskReason.UNREADABLE, error)
    width, height = size
    if abs(picture.width * height / (picture.height * width) - 1) > ASPECT_TOLERANCE:
        detail = f"{picture.width}x{picture.height} pixels, but the image has {width}x{height}"
        return bad(MaskReason.WRONG_SHAPE, detail)
    grey = np.asarray(picture)
    if grey.max() <= 1:
        grey = 255 * grey
    between = np.mean((grey > 63) & (grey < 192))
    if between > MOST_GREY:
        return bad(MaskReason.NOT_BINARY, f"{between:.0%} of its pixels are neither dark nor light")
    if picture.size != size:
        grey = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))
    mask = grey > 127
    if not mask.any():
        return bad(MaskReason.EMPTY, "no pixel is inside the lesion")
    Image.fromarray(mask).save(path)
    return None


def _mask_path(masks: Path, image: str) -> Path:
    # Quoted, no name leads out of the folder, and two names never share a file.
    return masks / f"{quote(image, safe=' ')}.png"
