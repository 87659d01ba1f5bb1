"""HEIC, as phones write it, decoded by libheif."""

import functools
from types import ModuleType

import numpy as np
from PIL import Image

from doctor_derma.images.large_pictures import shrink_pixels

# Bytes a pixel while it is decoded: its planes and RGB. Pillow's copy comes when they are gone.
_BYTES = 7


def load_heic(encoded: bytes, most_pixels: int, large_bytes: int, side: int) -> Image.Image:
    """Decode the primary picture of a HEIC file, to ``L``, ``RGB`` or ``RGBA``.

    It stands as its container says (ISO/IEC 23008-12, 6.5.10); what EXIF says of that does not
    count. More than 8 bits become 8. What takes more than ``large_bytes`` of memory is made smaller
    at once, with no side under ``side``. Its profile is in ``info``.

    Raises a PIL.Image.DecompressionBombError when it has over ``most_pixels``, and an OSError,
    RuntimeError, SyntaxError or ValueError when it can't be decoded.
    """
    opened = load_libheif().open_heif(encoded, convert_hdr_to_8bit=True)
    image = opened[opened.primary_index]
    width, height = image.size
    if width * height > most_pixels:
        raise Image.DecompressionBombError(f"{width}x{height}")
    if width * height * _BYTES > large_bytes:
        picture = shrink_pixels(np.asarray(image), side)
    else:
        picture = Image.frombytes(image.mode, image.size, image.data)
    if profile := image.info.get("icc_profile"):
        picture.info["icc_profile"] = profile
    return picture


@functools.cache
def load_libheif() -> ModuleType:
    """Return libheif; it is loaded when first needed."""
    import pi_heif

    # One picture is one piece of work, of which there are several at once.
    pi_heif.options.DECODE_THREADS = 1
    for extra in ("THUMBNAILS", "DEPTH_IMAGES", "AUX_IMAGES"):
        setattr(pi_heif.options, extra, False)
    return pi_heif
