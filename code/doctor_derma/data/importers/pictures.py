"""Finds the lesion masks of a source: pictures in folders and zip archives, by their names."""

import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import IMAGE_SUFFIXES
from doctor_derma.images.walking import files_below

# As in the archive: ISIC_0024306.jpg has the mask ISIC_0024306_segmentation.png.
MASK_ENDING = "_segmentation"


class MaskFile(NamedTuple):
    """A mask of a source: the image it belongs to by its name, where it lies, its bytes."""

    image: str
    origin: str
    read: Callable[[], bytes]


def find_masks(source: Path) -> list[MaskFile]:
    """List the masks of a folder, whatever lies deeper included, or of a zip archive.

    Masks are pictures named ``<image>_segmentation``, such as those of
    ``HAM10000_segmentations_lesion_tschandl.zip``; where no picture is named so, all
    pictures count, each named as its image. Unpacked masks come before zipped ones.

    Raises
    ------
    DermaError
        When the source is missing, is neither, holds no masks, or an archive is damaged.
    """
    if source.is_dir():
        files = list(_in_folder(source))
    elif source.is_file():
        files = list(_in_archive(source))
    else:
        raise DermaError(f"{source}: no such folder or zip archive; name the one with the masks")
    if not files:
        raise DermaError(
            f"{source}: no masks found; they are pictures named IMAGE{MASK_ENDING}.png or "
            "IMAGE.png, in a folder or a zip archive"
        )
    named = [file for file in files if file.image.casefold().endswith(MASK_ENDING)]
    if not named:
        return files
    return [file._replace(image=file.image[: -len(MASK_ENDING)]) for file in named]


def _in_folder(folder: Path) -> Iterator[MaskFile]:
    paths = files_below(folder)
    for path in paths:
        if _is_picture(PurePosixPath(path.relative_to(folder).as_posix())):
            yield MaskFile(path.stem, str(path), path.read_bytes)
    for path in paths:
        if path.suffix.lower() == ".zip" and not path.name.startswith("."):
            yield from _in_archive(path)


def _in_archive(archive: Path) -> Iterator[MaskFile]:
    try:
        opened = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DermaError(
            f"{archive}: can't be opened as a zip archive ({reason}); name a folder or a "
            "whole archive"
        ) from error
    for member in sorted(opened.namelist()):
        inside = PurePosixPath(member)
        if _is_picture(inside):
            yield MaskFile(inside.stem, f"{archive}:{member}", partial(opened.read, member))


def _is_picture(path: PurePosixPath) -> bool:
    # macOS puts a "._" twin beside every picture it zips.
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden
