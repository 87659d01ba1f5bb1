"""One way from an encoded picture to the pixels a network sees, for training and serving."""

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from doctor_derma.data.jpeg_scans import count_scans
from doctor_derma.errors import DermaError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 50_000_000
# A JPEG may be decoded at a half, a quarter or an eighth, which saves time and memory, as long
# as no side gets shorter than this: far more than a network looks at.
DRAFT_SIDE = 1024
# Encoders make some ten and at most some twenty of them.
MAX_SCANS = 50
# Pillow knows more, and some of those run other programs on the file, such as EPS.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
# Pillow remarks on odd files, at length and for each one. Here a file is readable or it is not.
# The filter is for good, as one for the time of a call would be that of all threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

ImageSource = str | Path | bytes | Image.Image | np.ndarray


class UnreadableImage(DermaError):  # noqa: N818
    """A picture that can't be decoded; the message says why."""


def is_one_picture(images: ImageSource | Iterable[ImageSource]) -> TypeGuard[ImageSource]:
    """Say whether this is one picture and not several."""
    if isinstance(images, np.ndarray):
        return images.ndim != 4
    return isinstance(images, str | Path | bytes | Image.Image)


def open_image(source: ImageSource, *, shrink: bool = True) -> Image.Image:
    """Decode a whole picture to RGB, upright by its EXIF orientation.

    Parameters
    ----------
    source : path, encoded bytes, PIL image, or uint8 array of shape (height, width, 3)
    shrink : decode a large encoded JPEG smaller, but with no side under ``DRAFT_SIDE``

    Raises
    ------
    UnreadableImage
        When the file is missing, not a picture, truncated, empty or over ``MAX_PIXELS``, or a
        JPEG in bytes is over ``MAX_SCANS``.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise UnreadableImage(
                f"array of shape {source.shape} and type {source.dtype}: "
                "pass uint8 RGB of shape (height, width, 3)"
            )
        return Image.fromarray(source)
    try:
        image = source if isinstance(source, Image.Image) else _open_encoded(source, shrink)
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage(
                f"{image.width}x{image.height} pixels: more than {MAX_PIXELS:,}, scale it down"
            )
        image.load()
        return _as_rgb(_upright(image))
    except FileNotFoundError as error:
        raise UnreadableImage("no such file") from error
    except PermissionError as error:
        raise UnreadableImage("no permission to read it") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage("not a picture that can be read") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"more than {MAX_PIXELS:,} pixels, scale it down") from error
    except UnreadableImage:
        raise
    # What Pillow raises for a damaged file has no base class: a TIFF whose offsets are fractions
    # is a TypeError. tests/fuzz looks for more of them.
    except Exception as error:
        raise UnreadableImage(f"corrupt or truncated picture ({error})") from error


def fit_pixels(image: Image.Image, height: int, width: int) -> np.ndarray:
    """Stretch a whole RGB picture to the size a network takes.

    The picture is neither cropped nor padded, so a position in an activation map is the
    same relative position in the picture.

    Returns
    -------
    uint8 array of shape (height, width, 3)
    """
    resized = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized, dtype=np.uint8)


def _open_encoded(source: str | Path | bytes, shrink: bool) -> Image.Image:
    if isinstance(source, bytes):
        if not source:
            raise UnreadableImage("empty file")
        # Bytes come from strangers, who may mean to keep the decoder busy.
        if (scans := count_scans(source)) > MAX_SCANS:
            raise UnreadableImage(f"a JPEG of {scans:,} scans: more than {MAX_SCANS}, save it anew")
        return _open_file(io.BytesIO(source), shrink)
    path = Path(source)
    if path.is_dir():
        raise UnreadableImage("a folder, not a picture")
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableImage("empty file")
    return _open_file(path, shrink)


def _open_file(file: Path | io.BytesIO, shrink: bool) -> Image.Image:
    image = Image.open(file, formats=FORMATS)
    # What is over the limit keeps its size, to be refused for it.
    if shrink and image.width * image.height <= MAX_PIXELS:
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
    return image


def _upright(image: Image.Image) -> Image.Image:
    # Pillow copies a picture that is upright already, and large ones fill the memory.
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return ImageOps.exif_transpose(image) if turned else image


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        scaled = np.asarray(image, dtype=np.float32) / 257.0
        return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # A transparent background turns white, like the skin-free border of a scan.
        layer = image.convert("RGBA")
        backdrop = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(backdrop, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
