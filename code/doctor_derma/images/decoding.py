"""One way from an encoded picture to the pixels a network sees, for training and serving."""

import io
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, TypeGuard

import numpy as np
from PIL import ExifTags, Image, ImageFile, PngImagePlugin, UnidentifiedImageError
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from doctor_derma.errors import DermaError
from doctor_derma.images.bit_depth import (
    DEEP_GREY,
    bits_in_use,
    grey_to_8_bits,
    join_bytes,
    raw_mode,
    read_low_bytes,
)
from doctor_derma.images.colour_profiles import conversion_to_srgb
from doctor_derma.images.dicom import UnreadableDicom, load_dicom
from doctor_derma.images.file_structure import EAGER, look_through, webp_size
from doctor_derma.images.formats import ADVICE, DECODERS, LENGTH, RAW, is_known, is_raw, kind_of
from doctor_derma.images.heic import load_heic
from doctor_derma.images.large_pictures import WEBP_BYTES, bytes_to_decode, can_shrink, load_shrunk

# Changes with the pixels of any picture; 1 was Pillow alone, without profiles, and 2 kept 1024
# pixels of a large picture for a network of any size.
DECODER = 3
MAX_PIXELS = 50_000_000
# A large picture may be decoded smaller, a JPEG at a half, a quarter or an eighth, which saves time
# and memory, as long as no side gets shorter than this: far more than most networks look at.
LEAST_SIDE = 1024
# So much more than a network takes is left for the last resizing: Pillow's own proposal for what
# can't be told from resizing the whole picture.
REDUCING_GAP = 3
# What takes more is made smaller while it is read, if it can be. A picture of 1920x1080 takes less,
# and so does nearly every JPEG, which is made smaller by its own decoder.
LARGE_BYTES = 24_000_000
# Pillow remarks on odd files, at length and for each one. Here a file is readable or it is not.
# The filter is for good, as one for the time of a call would be that of all threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
# Editing programs write metadata of many megabytes beside the pixels of a PNG. Pillow refuses a
# picture over 1 MB of them; its limit of 64 MB for all of them together stays.
PngImagePlugin.MAX_TEXT_CHUNK = 32_000_000
_JPEG_START = b"\xff\xd8"
# In front of the other headers it has 72 dots an inch, so that nobody looks further.
_JFIF_HEADER = b"\xff\xe0\x00\x10JFIF\x00\x01\x02\x01\x00\x48\x00\x48\x00\x00"
# What to do with a picture that stands otherwise, by EXIF orientation (CIPA DC-008, 4.6.4).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Fault = Literal["damaged", "foreign", "large", "unsupported"]
Encoded = str | Path | bytes
ImageSource = Encoded | Image.Image | np.ndarray


class UnreadableImage(DermaError):  # noqa: N818
    """A picture that can't be decoded; the message says why.

    Attributes
    ----------
    kind : ``damaged``; ``foreign``, no picture; ``unsupported``, of a kind that is not read, with
        what to do in the message; or ``large``, more than may be decoded
    """

    def __init__(self, message: str, kind: Fault = "damaged") -> None:
        super().__init__(message)
        self.kind = kind


def is_one_picture(images: ImageSource | Iterable[ImageSource]) -> TypeGuard[ImageSource]:
    """Say whether this is one picture and not several."""
    if isinstance(images, np.ndarray):
        return images.ndim != 4
    return isinstance(images, str | Path | bytes | Image.Image)


def open_image(source: ImageSource, *, least_side: int | None = LEAST_SIDE) -> Image.Image:
    """Decode a whole picture to sRGB, upright by its EXIF orientation.

    Colours are converted from the picture's ICC profile. EXIF data or a profile that can't be
    read count as absent. 10 or 12 bits in a file of 16 are scaled as what they are.

    Parameters
    ----------
    source : path, encoded bytes, PIL image, or uint8 array of shape (height, width, 3)
    least_side : pixels; a large encoded picture may be decoded smaller, but with no side under
        this; None for its own size

    Raises
    ------
    UnreadableImage
        When the file is missing, not a picture, truncated, empty or over ``MAX_PIXELS``, or one
        in bytes is made of too many parts, see ``look_through``.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise UnreadableImage(
                f"array of shape {source.shape} and type {source.dtype}: "
                "pass uint8 RGB of shape (height, width, 3)"
            )
        return Image.fromarray(source)
    try:
        return _as_srgb(_upright(_read(source, least_side)))
    except FileNotFoundError as error:
        raise UnreadableImage("no such file") from error
    except PermissionError as error:
        raise UnreadableImage("no permission to read it") from error
    except UnidentifiedImageError as error:
        head = _first_bytes(source)
        if is_known(head):
            raise UnreadableImage("corrupt or truncated picture (damaged header)") from error
        raise UnreadableImage("not a picture that can be read", "foreign") from error
    except UnreadableDicom as error:
        raise UnreadableImage(str(error), "unsupported") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"more than {MAX_PIXELS:,} pixels, scale it down", "large") from error
    except UnreadableImage:
        raise
    # What Pillow raises for a damaged file has no base class: a TIFF whose offsets are fractions
    # is a TypeError. tests/fuzz looks for more of them.
    except Exception as error:
        raise UnreadableImage(f"corrupt or truncated picture ({error})") from error


class Decoded(NamedTuple):
    """A picture at a network's size, uint8 RGB (height, width, 3), and the size it came with."""

    pixels: np.ndarray
    size: tuple[int, int]


def decode(source: ImageSource, height: int, width: int) -> Decoded:
    """Decode a picture and stretch it to the size a network takes; raises as ``open_image``."""
    picture = open_image(source, least_side=least_side(height, width))
    return Decoded(fit_pixels(picture, height, width), picture.size)


def least_side(height: int, width: int) -> int:
    """Return how many pixels a side of a picture keeps for a network of this size."""
    # Either side may become the longer one, as a picture may lie on its side in the file.
    return min(REDUCING_GAP * max(height, width), LEAST_SIDE)


def without_identity(encoded: bytes) -> bytes:
    """Return a picture's file as it is, but a DICOM file as a PNG, with nothing of the patient.

    Raises an UnreadableImage when it is a DICOM file that can't be decoded.
    """
    if kind_of(encoded[:LENGTH]) != "DICOM":
        return encoded
    stream = io.BytesIO()
    open_image(encoded, least_side=None).save(stream, "PNG")
    return stream.getvalue()


def fit_pixels(image: Image.Image, height: int, width: int) -> np.ndarray:
    """Stretch a whole RGB picture to the size a network takes, uint8 (height, width, 3).

    The picture is neither cropped nor padded, so a position in an activation map is the
    same relative position in the picture.
    """
    resized = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)
    return np.asarray(resized, dtype=np.uint8)


def _first_bytes(source: ImageSource) -> bytes:
    if isinstance(source, bytes):
        return source[:LENGTH]
    if isinstance(source, str | Path) and Path(source).is_file():
        with Path(source).open("rb") as file:
            return file.read(LENGTH)
    return b""


def _bytes_of(source: Encoded) -> bytes:
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def _open(source: Encoded) -> ImageFile.ImageFile:
    file = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    try:
        return Image.open(file, formats=DECODERS)
    except UnidentifiedImageError:
        # Pillow looks for a resolution in damaged EXIF data of a JPEG, and may give up the picture.
        if not (encoded := _bytes_of(source)).startswith(_JPEG_START):
            raise
        repaired = io.BytesIO(_JPEG_START + _JFIF_HEADER + encoded[len(_JPEG_START) :])
        return Image.open(repaired, formats=("JPEG",))


def _read(source: Encoded | Image.Image, side: int | None) -> Image.Image:
    """Decode the pixels, at 8 bits a channel."""
    if isinstance(source, Image.Image):
        _check_size(*source.size)
        return _load(source, source)
    head = _first_bytes(source)
    if not head:
        if isinstance(source, bytes) or Path(source).is_file():
            raise UnreadableImage("empty file")
        if Path(source).is_dir():
            raise UnreadableImage("a folder, not a picture")
    kind = kind_of(head)
    if kind == "TIFF" and _is_raw(source):
        kind = RAW
    if kind in ADVICE:
        raise UnreadableImage(f"{kind}: {ADVICE[kind]}", "unsupported")
    if kind == "DICOM":
        return load_dicom(source if isinstance(source, bytes) else Path(source), MAX_PIXELS)
    if kind in EAGER:
        return _read_eager(_bytes_of(source), kind, side)
    width, height = webp_size(head)
    if side and width * height * WEBP_BYTES > LARGE_BYTES:
        # Pillow would make room for its frames before it tells of its size.
        _check_size(width, height)
        return load_shrunk(source, "WEBP", side)
    # Bytes come from strangers, who may mean to keep the decoder busy.
    if isinstance(source, bytes) and (excess := look_through(source).excess):
        raise UnreadableImage(excess)
    # Pillow would leave the file open where it can't decode it, or where there are further frames.
    with _open(source) as image:
        _check_size(*image.size)
        if side:
            image.draft(None, (side, side))
            if can_shrink(image.format) and bytes_to_decode(image) > LARGE_BYTES:
                return load_shrunk(source, str(image.format), side)
        return _load(image, source)


def _read_eager(encoded: bytes, kind: str, side: int | None) -> Image.Image:
    """Decode a picture of one of the kinds whose decoders have to be told nothing too large."""
    structure = look_through(encoded)
    if structure.excess:
        raise UnreadableImage(structure.excess)
    if structure.pixels > MAX_PIXELS:
        raise Image.DecompressionBombError
    if kind == "HEIC":
        return load_heic(encoded, MAX_PIXELS, LARGE_BYTES if side else sys.maxsize, side or 1)
    image = Image.open(io.BytesIO(encoded), formats=DECODERS)
    _check_size(*image.size)
    if side and isinstance(image, Jpeg2KImageFile):
        # Each level is half the size, down to what a network looks at.
        halvings = max(min(image.size) // side, 1).bit_length() - 1
        image.reduce = min(halvings, structure.levels)
    return _load(image, encoded)


def _is_raw(source: Encoded) -> bool:
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as stream:
        return is_raw(stream)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        reason = f"{width}x{height} pixels: more than {MAX_PIXELS:,}, scale it down"
        raise UnreadableImage(reason, "large")


def _load(image: Image.Image, source: Encoded | Image.Image) -> Image.Image:
    raw = raw_mode(image)
    image.load()
    if image.mode in DEEP_GREY:
        return grey_to_8_bits(image, raw)
    if ";16" not in raw or (bits := bits_in_use(image)) == 16:
        return image
    if not isinstance(source, Image.Image):
        # All is in the low bytes, which Pillow skipped.
        with _open(source) as again:
            if read_low_bytes(again):
                again.load()
                return join_bytes(image, again, bits)
    raise UnreadableImage(f"{bits} bits in a file of 16, black to most programs: save it in 8")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    # Pillow reads all of EXIF, and what it raises for a damaged one has no base class.
    except Exception:
        turn = None
    if turn is None:
        return image
    profile = image.info.get("icc_profile")
    turned = image.transpose(turn)
    # It must not be turned again, by its EXIF or XMP.
    turned.info = {"icc_profile": profile} if profile else {}
    return turned


def _as_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    conversion = conversion_to_srgb(profile) if profile else None
    if conversion is None or not conversion.fits(image.mode):
        return _as_rgb(image)
    if conversion.mode == "CMYK":
        return conversion.apply(image)
    flat = _as_rgb(image)
    return conversion.apply(flat if conversion.mode == "RGB" else flat.getchannel("R"))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        # Pillow has no way from it to any mode but one.
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # A transparent background turns white, like the skin-free border of a scan.
        layer = image.convert("RGBA")
        backdrop = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(backdrop, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
