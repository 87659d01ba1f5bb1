"""What a picture takes in memory, and large ones made smaller while they are read.

Pillow decodes a picture to its whole size before anything else, which takes up to 800 MB for the
50 megapixels that may be. libvips [1]_ reads, flattens and averages it line by line. What comes of
it is a picture of Pillow's, so that colours, orientation and the last resizing are those of every
other picture.

References
----------
.. [1] J. Cupitt, K. Martinez: VIPS: an image processing system for large images. SPIE 2663, 1996.
"""

import functools
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from doctor_derma.images.bit_depth import white_of

_LOADERS = {"PNG": "pngload", "TIFF": "tiffload", "WEBP": "webpload"}
# Of colours that no profile explains: as libvips understands them.
_STRANGE = frozenset({"lab", "labs", "labq", "xyz", "scrgb", "hsv", "lch", "yxy"})

# Bytes a pixel at the peak, until the picture is RGB. Pillow has 4 for RGB, too.
_BYTES = {
    **dict.fromkeys(("1", "L", "P"), 5),
    "RGB": 4,
    **dict.fromkeys(("CMYK", "YCbCr", "LAB", "HSV", "RGBX"), 8),
    # The layer, white, both together, and RGB.
    **dict.fromkeys(("LA", "La", "PA", "RGBA", "RGBa"), 20),
    **dict.fromkeys(("I;16", "I;16B", "I;16L", "I;16N"), 10),
    **dict.fromkeys(("I", "F"), 24),
}
_UNKNOWN = 24
_TRANSPARENT = 20
# libwebp keeps two whole frames of four channels and gives Pillow a copy, to which comes the rest.
WEBP_BYTES = 32
# Read twice for the low and the high bytes, see bit_depth.
_DEEP_COLOUR = 16
_TURNED = _CONVERTED = 4


def bytes_to_decode(image: Image.Image) -> int:
    """Return the bytes that a picture which is opened but not loaded takes while it is decoded.

    Of a JPEG without its coefficients, which ``look_through`` counts.
    """
    each = _BYTES.get(image.mode, _UNKNOWN)
    if "transparency" in image.info:
        each = max(each, _TRANSPARENT)
    if image.format == "WEBP":
        each = WEBP_BYTES
    if ";16" in str(getattr(image, "tile", "")):
        each += _DEEP_COLOUR if image.mode in ("RGB", "RGBA") else 0
    if _is_turned(image):
        each += _TURNED
    if "icc_profile" in image.info:
        each += _CONVERTED
    return image.width * image.height * each


def _is_turned(image: Image.Image) -> bool:
    if image.format == "PNG" and "exif" not in image.info:
        # Pillow would decode all of it, as EXIF may stand behind the pixels.
        return False
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    except Exception:  # Whatever Pillow says of damaged EXIF, the picture counts as upright.
        return False


def can_shrink(format: str | None) -> bool:
    """Say whether pictures of a format, as Pillow calls it, are read here."""
    return format in _LOADERS


def load_shrunk(source: str | Path | bytes, format: str, side: int) -> Image.Image:
    """Decode the first frame of a picture, by whole numbers smaller, with no side under ``side``.

    It is of mode ``L``, ``RGB`` or ``CMYK``, on white where it was transparent, as it lies in the
    file; its profile and orientation are in ``info``. Raises a MemoryError or OSError when it can't
    be decoded.
    """
    try:
        image = _open(source, format)
        factor = min(_factors(image, side))
        if format == "WEBP" and factor > 1:
            # The decoder itself makes it smaller. A frame of an animation it does not.
            image = _open(source, format, scale=1 / factor)
        if image.interpretation in _STRANGE:
            image = image.colourspace("srgb")
        picture = _shrunk(image, side)
        picture.info.update(_kept(image))
        return picture
    except load_libvips().Error as error:
        detail = " ".join(str(error.detail).split())
        raise (MemoryError if "out of memory" in detail else OSError)(detail) from None


def shrink_pixels(pixels: np.ndarray, side: int) -> Image.Image:
    """Make decoded pixels by whole numbers smaller, with no side under ``side``.

    They are uint8 of shape (height, width, channels), of grey, RGB or RGBA, and not copied. The
    picture is of mode ``L`` or ``RGB``, on white where it was transparent.
    """
    return _shrunk(load_libvips().Image.new_from_array(pixels), side)


def _shrunk(image: Any, side: int) -> Image.Image:
    if image.hasalpha():
        image = image.flatten(background=65535 if image.format == "ushort" else 255)
    if image.bands == 2:
        image = image.extract_band(0)
    across, down = _factors(image, side)
    if across > 1 or down > 1:
        image = image.shrink(across, down)
    values = image.numpy()
    if values.ndim == 3 and values.shape[2] == 1:
        values = values.squeeze(axis=2)
    if values.dtype != np.uint8:
        scaled = np.nan_to_num(values) * (255 / white_of(values))
        values = np.clip(scaled, 0, 255).astype(np.uint8)
    return Image.fromarray(values, "CMYK" if image.interpretation == "cmyk" else None)


def _factors(image: Any, side: int) -> tuple[int, int]:
    return max(image.width // side, 1), max(image.height // side, 1)


def _open(source: str | Path | bytes, format: str, **options: Any) -> Any:
    loader = _LOADERS[format] + ("_buffer" if isinstance(source, bytes) else "")
    load = getattr(load_libvips().Image, loader)
    given = source if isinstance(source, bytes) else str(source)
    return load(given, access="sequential", fail_on="error", **options)


def _kept(image: Any) -> dict[str, bytes]:
    kept = {}
    if image.get_typeof("icc-profile-data"):
        kept["icc_profile"] = bytes(image.get("icc-profile-data"))
    if image.get_typeof("orientation"):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = image.get("orientation")
        kept["exif"] = exif.tobytes()
    return kept


@functools.cache
def load_libvips() -> ModuleType:
    """Return libvips; it is loaded when first needed, as few processes see a large picture."""
    import pyvips

    # Its remarks on odd files; here a file is readable or it is not.
    logging.getLogger("pyvips").setLevel(logging.ERROR)
    pyvips.cache_set_max(0)
    return pyvips
