"""Drawn lesions in all the ways that files hold pictures, for whoever compares two decoders."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import ExifTags, Image

from doctor_derma.data.synthetic.lesions import draw_lesion
from doctor_derma.data.synthetic.scenes import Skin, photograph

DIAGNOSES = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")
SIZE = (320, 240)
# Colour types of PNG, 16 bits of which Pillow can't write.
GREY, COLOURS, WITH_ALPHA = 0, 2, 6
Write = Callable[[Image.Image], bytes]


def lesion(dx: str, seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Draw a lesion of a diagnosis."""
    generator = np.random.default_rng([seed, *dx.encode()])
    return photograph(draw_lesion(dx, generator), Skin.draw(generator), size, generator)


def saved(form: str, mode: str = "RGB", **options: object) -> Write:
    """Return what writes a picture in a format, after it was given a mode."""

    def write(picture: Image.Image) -> bytes:
        stream = io.BytesIO()
        picture.convert(mode).save(stream, form, **options)
        return stream.getvalue()

    return write


def turned(form: str, orientation: int) -> Write:
    """Return what writes a picture with an EXIF orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved(form, exif=exif)


def sized(size: tuple[int, int], write: Write) -> Write:
    """Return what stretches a picture before it is written."""
    return lambda picture: write(picture.resize(size, Image.Resampling.BICUBIC))


def fading(form: str, mode: str = "RGBA", **options: object) -> Write:
    """Return what writes a picture that fades out to the right, with odd colours where it is."""

    def write(picture: Image.Image) -> bytes:
        layer = picture.convert("RGB")
        ramp = np.linspace(300, -60, layer.width).clip(0, 255).astype(np.uint8)
        layer.putalpha(Image.fromarray(np.tile(ramp, (layer.height, 1))))
        return saved(form, mode, **options)(layer)

    return write


def palette(colours: int, form: str = "PNG", **options: object) -> Write:
    """Return what writes a picture of so many colours."""

    def write(picture: Image.Image) -> bytes:
        stream = io.BytesIO()
        picture.quantize(colours).save(stream, form, **options)
        return stream.getvalue()

    return write


def deep(kind: int, bits: int = 16, *, interlaced: bool = False) -> Write:
    """Return what writes a PNG of 16 bits a channel, of which so many are used."""

    def write(picture: Image.Image) -> bytes:
        values = np.asarray(picture.convert("L" if kind == GREY else "RGB")) / 255
        noise = np.random.default_rng(0).uniform(0, 1 / 255, values.shape)
        values = ((values + noise).clip(0, 1) * (2**bits - 1)).round().astype(">u2")
        values = values.reshape(*values.shape[:2], -1)
        if kind == WITH_ALPHA:
            alpha = np.linspace(80000, 0, values.shape[1]).clip(0, 65535).astype(">u2")
            alpha = np.broadcast_to(alpha[None, :, None], (*values.shape[:2], 1))
            values = np.concatenate([values, alpha], axis=2)
        return _png(values, kind, 16, interlaced)

    return write


def adam7(picture: Image.Image) -> bytes:
    """Write an interlaced PNG."""
    return _png(np.asarray(picture.convert("RGB")), COLOURS, 8, interlaced=True)


def one_clear_colour(picture: Image.Image) -> bytes:
    """Write a PNG in which one colour, that of the middle, is transparent."""
    few = picture.quantize(16).convert("RGB")
    middle = few.getpixel((few.width // 2, few.height // 2))
    return saved("PNG", transparency=middle)(few)


def _png(values: np.ndarray, kind: int, depth: int, interlaced: bool) -> bytes:
    """Return samples of shape (rows, columns, channels) as a PNG."""
    rows, columns = values.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
        passes += [(1, 0, 2, 2), (0, 1, 1, 2)]
    lines = b"".join(
        b"\0" + row.tobytes()
        for left, top, across, down in passes
        for row in values[top::down, left::across]
    )
    head = struct.pack(">IIBBBBB", columns, rows, depth, kind, 0, 0, int(interlaced))
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


# Decoded to the bit in both editions.
LOSSLESS: dict[str, Write] = {
    "png": saved("PNG"),
    "png-larger": sized((1201, 907), saved("PNG")),
    "png-smaller": sized((97, 61), saved("PNG")),
    "png-upright-phone": sized((480, 853), saved("PNG")),
    "png-grey": saved("PNG", "L"),
    "png-two-levels": saved("PNG", "1"),
    "png-grey-alpha": fading("PNG", "LA"),
    "png-alpha": fading("PNG"),
    "png-palette": palette(200),
    "png-palette-4-bits": palette(16, bits=4),
    "png-palette-2-bits": palette(4, bits=2),
    "png-palette-clear": palette(64, transparency=bytes(range(0, 256, 4))),
    "png-one-clear-colour": one_clear_colour,
    "png-interlaced": adam7,
    "png-16-bits": deep(COLOURS),
    "png-12-of-16-bits": deep(COLOURS, 12),
    "png-16-bits-alpha": deep(WITH_ALPHA),
    "png-16-bits-grey": deep(GREY),
    "png-10-of-16-bits-grey": deep(GREY, 10),
    "png-16-bits-interlaced": deep(COLOURS, interlaced=True),
    **{f"png-exif-{turn}": turned("PNG", turn) for turn in (2, 3, 4, 5, 6, 7, 8)},
    "bmp": saved("BMP"),
    "bmp-palette": palette(64, "BMP"),
}
# The browser's own decoder is asked.
LOSSY: dict[str, Write] = {
    "jpeg": saved("JPEG", quality=90),
    "jpeg-poor": saved("JPEG", quality=40),
    "jpeg-444": saved("JPEG", quality=92, subsampling=0),
    "jpeg-422": saved("JPEG", quality=85, subsampling=1),
    "jpeg-odd": sized((641, 479), saved("JPEG", quality=80)),
    "jpeg-small": sized((120, 80), saved("JPEG", quality=90)),
    "jpeg-progressive": saved("JPEG", quality=85, progressive=True),
    "jpeg-grey": saved("JPEG", "L", quality=90),
    "jpeg-cmyk": saved("JPEG", "CMYK", quality=95),
    **{f"jpeg-exif-{turn}": turned("JPEG", turn) for turn in (2, 3, 4, 5, 6, 7, 8)},
    "webp": saved("WEBP", quality=85),
    "webp-lossless": saved("WEBP", lossless=True),
    "webp-alpha": fading("WEBP", lossless=True),
}
# Made smaller before all else: by JPEG's decoder and, in Python, by libvips.
LARGE: dict[str, Write] = {
    "jpeg-12-megapixels": sized((4000, 3000), saved("JPEG", quality=90)),
    "jpeg-9-megapixels-upright": sized((2600, 3500), saved("JPEG", quality=80)),
    "jpeg-24-megapixels": sized((6000, 4000), saved("JPEG", quality=90)),
    "png-8-megapixels": sized((3264, 2448), saved("PNG", compress_level=1)),
    "png-alpha-3-megapixels": sized((2100, 1500), fading("PNG", compress_level=1)),
}


def made_pictures(kinds: dict[str, Write], seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of a picture of each kind, each of another lesion."""
    for index, (name, write) in enumerate(kinds.items()):
        yield name, write(lesion(DIAGNOSES[index % len(DIAGNOSES)], seed + index))
