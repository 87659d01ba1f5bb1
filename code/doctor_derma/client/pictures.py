"""Pictures from anywhere to the bytes that are sent, in groups that make one request each."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from doctor_derma.images.decoding import (
    ImageSource,
    UnreadableImage,
    open_image,
    without_identity,
)
from doctor_derma.images.formats import LENGTH, kind_of
from doctor_derma.server.schemas import MAX_IMAGE_BYTES

GROUP_PICTURES = 32
# Over a slow connection, of 1 Mbit/s, these take half a minute, and a client is patient for one.
GROUP_BYTES = 4_000_000

Encoded = bytes | UnreadableImage
_REASONS: dict[type[Exception], str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "a folder, not a picture",
    PermissionError: "no permission to read it",
}


def encode(source: ImageSource) -> bytes:
    """Return a picture as a file: one on disk or in memory as it is, pixels as a PNG.

    A DICOM file becomes a PNG, so that what it tells of the patient stays here.

    Raises
    ------
    UnreadableImage
        When the file can't be read or is larger than a server takes, the array is no picture, or
        a DICOM file can't be decoded.
    """
    if isinstance(source, bytes):
        return without_identity(source)
    if isinstance(source, np.ndarray | Image.Image):
        stream = io.BytesIO()
        open_image(source).save(stream, "PNG", compress_level=1)
        return stream.getvalue()
    try:
        path = Path(source)
        if path.stat().st_size > MAX_IMAGE_BYTES and not _is_dicom(path):
            size = f"{MAX_IMAGE_BYTES // 1_000_000} MB"
            raise UnreadableImage(
                f"the picture is over {size}; send a smaller or more compressed one", "large"
            )
        return without_identity(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnreadableImage(_REASONS.get(type(error), f"can't be read ({error})")) from error


def grouped(images: Iterable[ImageSource]) -> Iterator[list[Encoded]]:
    """Encode pictures and put them in groups; one group at a time is in memory.

    A picture that can't be read is in its place as the reason why.
    """
    group: list[Encoded] = []
    size = 0
    for image in images:
        encoded = _try_encode(image)
        length = len(encoded) if isinstance(encoded, bytes) else 0
        if group and (len(group) == GROUP_PICTURES or size + length > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(encoded)
        size += length
    if group:
        yield group


def _try_encode(image: ImageSource) -> Encoded:
    try:
        return encode(image)
    except UnreadableImage as error:
        return error


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return kind_of(stream.read(LENGTH)) == "DICOM"
