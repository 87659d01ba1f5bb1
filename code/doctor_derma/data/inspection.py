"""Decodes every image once: which can be used, and what they look like from afar."""

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from rich.progress import track

from doctor_derma.cpus import usable_cpus
from doctor_derma.data.duplicates import thumbnail
from doctor_derma.data.records import InspectedImage, Reason, ReportedImage, SourceImage
from doctor_derma.images.decoding import UnreadableImage, open_image
from doctor_derma.images.file_structure import LENGTH, foreign_kind
from doctor_derma.terminal import terminal


def inspect_images(
    images: Sequence[SourceImage],
) -> tuple[list[InspectedImage], list[ReportedImage]]:
    """Divide images, in order, into those that can be used and those that can't be.

    Every image is in exactly one of the two lists. Only thumbnails stay in memory.
    """
    usable, reported = [], []
    # Pillow decodes outside Python's lock, so threads use every core.
    with ThreadPoolExecutor(usable_cpus()) as threads:
        outcomes = track(
            threads.map(_inspect, images),
            "Checking images",
            total=len(images),
            console=terminal(error=True),
        )
        for outcome in outcomes:
            if isinstance(outcome, InspectedImage):
                usable.append(outcome)
            else:
                reported.append(outcome)
    return usable, reported


def _inspect(source: SourceImage) -> InspectedImage | ReportedImage:
    if source.read is None:
        return ReportedImage(source.image, Reason.MISSING, "listed in the metadata, no such file")
    if source.dx is None:
        return ReportedImage(source.image, Reason.UNLABELLED, f"{source.origin}: no class known")
    try:
        encoded = source.read()
        picture = open_image(encoded, shrink=False)
    except UnreadableImage as error:
        return ReportedImage(source.image, _reason(error, encoded), f"{source.origin}: {error}")
    # A member of an archive that is encrypted, or packed in an unknown way, is a RuntimeError.
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        return ReportedImage(source.image, Reason.CORRUPT, f"{source.origin}: {error}")
    return InspectedImage(
        source=source,
        dx=source.dx,
        lesion=source.lesion or source.image,
        sha256=hashlib.sha256(encoded).hexdigest(),
        width=picture.width,
        height=picture.height,
        thumbnail=np.asarray(thumbnail(picture)),
    )


def _reason(error: UnreadableImage, encoded: bytes) -> Reason:
    if foreign_kind(encoded[:LENGTH]):
        return Reason.UNSUPPORTED
    return Reason.TRUNCATED if "truncat" in str(error.__cause__).lower() else Reason.CORRUPT
