"""What a file is made of, from its bytes alone: how many parts, and how large a picture.

A decoder goes through all parts of a file, and nothing in the formats limits them: millions of
empty segments keep one busy for seconds, and a few bytes are one more pass over all pixels. No
camera and no program makes so many.
"""

import re
import struct
from collections.abc import Callable

from doctor_derma.images.containers import (
    Structure,
    gif_structure,
    heif_structure,
    jpeg_2000_structure,
)
from doctor_derma.images.formats import BIG_TIFF, LENGTH, TIFF_ORDERS, kind_of

# Encoders of JPEG make some ten scans and at most some twenty.
MAX_SCANS = 50
# Segments of a JPEG, chunks of a PNG without those of pixels. A depth map in the metadata of a
# phone's picture fills some hundred.
MAX_PARTS = 5_000
# Chunks of pixels of a PNG, which most programs make 8 to 64 kB long.
MAX_PIXEL_CHUNKS = 20_000
# Bytes between the segments of a JPEG that mean nothing.
MAX_FILL_BYTES = 100_000
# Values of a TIFF's first directory: strips, tiles, and the like.
MAX_VALUES = 100_000
# A byte of deflate is at most so many.
_INFLATES = 1032

_JPEG, _PNG, _BMP = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM"
_SCAN, _END = 0xDA, 0xD9
# After a scan's header comes coded data, in which FF is followed by 00 or a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_PACKED = (b"zTXt", b"iTXt", b"iCCP")
# Their decoders make room for the picture, or more, when a file is merely opened.
EAGER: dict[str, Callable[[bytes], Structure]] = {
    "HEIC": heif_structure,
    "AVIF": heif_structure,
    "JPEG 2000": jpeg_2000_structure,
    "GIF": gif_structure,
    # What says its size can lie anywhere in it.
    "DICOM": lambda _: Structure(),
}


def look_through(encoded: bytes) -> Structure:
    """Return what a file is made of, in a time that hardly depends on what is in it."""
    kind = kind_of(encoded[:LENGTH]) or ""
    eager = kind in EAGER
    try:
        if eager:
            return EAGER[kind](encoded)._replace(odd=True, eager=True)
        if encoded.startswith(_JPEG):
            return _jpeg(encoded)
        if encoded.startswith(_PNG):
            return _png(encoded)
        if order := TIFF_ORDERS.get(encoded[:4]):
            return _tiff(encoded, order)
        if encoded.startswith(BIG_TIFF):
            return Structure(odd=True)
        if encoded.startswith(_BMP):
            # Runs, which Pillow goes through in Python.
            (compression,) = struct.unpack_from("<I", encoded, 30)
            return Structure(odd=compression in (1, 2))
    except (IndexError, ValueError, struct.error):
        pass  # It ends too early, or is of nothing, as the decoder will say.
    return Structure(odd=eager, eager=eager)


def webp_size(start: bytes) -> tuple[int, int]:
    """Return width and height of a WebP from its first 30 bytes; 0 and 0 for any other file."""
    if not (start.startswith(b"RIFF") and start[8:12] == b"WEBP" and len(start) >= 30):
        return 0, 0
    match start[12:16]:
        case b"VP8X":
            across, down = start[24:27], start[27:30]
            return int.from_bytes(across, "little") + 1, int.from_bytes(down, "little") + 1
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", start, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            across, down = struct.unpack_from("<HH", start, 26)
            return across & 0x3FFF, down & 0x3FFF
    return 0, 0


def _jpeg(encoded: bytes) -> Structure:
    at, parts, scans, fill, coefficients, coded = len(_JPEG), 0, 0, 0, 0, False
    while marker := _MARKER.search(encoded, at):
        code = encoded[marker.end() - 1]
        if code == _END:
            break
        if code in _ARITHMETIC:
            return Structure("a JPEG with arithmetic coding, which few programs read: save it anew")
        parts += 1
        scans += code == _SCAN
        fill += 0 if coded else marker.start() - at
        coded = code == _SCAN
        if parts > MAX_PARTS:
            return Structure(f"a JPEG of more than {MAX_PARTS:,} segments: save it anew")
        if scans > MAX_SCANS:
            return Structure(f"a JPEG of more than {MAX_SCANS} scans: save it anew")
        if fill > MAX_FILL_BYTES:
            return Structure("a JPEG with gaps between its segments: save it anew")
        at = marker.end()
        if code in _ALONE:
            continue
        if code == 0xC2:
            coefficients = _coefficients(encoded[at : at + 20])
        # The length, of two bytes, counts itself.
        at += max(int.from_bytes(encoded[at : at + 2]), 2)
    if not scans and len(encoded) - at > MAX_FILL_BYTES:
        return Structure("a JPEG with gaps between its segments: save it anew")
    # Each scan is a pass over all coefficients.
    return Structure(coefficients=coefficients, odd=scans > 20)


def _coefficients(frame: bytes) -> int:
    """Return the bytes of all coefficients, two each (ITU-T T.81, B.2.2)."""
    _, _, height, width, components = struct.unpack_from(">HBHHB", frame)
    sampling = [divmod(frame[9 + 3 * index], 16) for index in range(min(components, 4))]
    across, down = zip(*sampling, strict=True)
    shares = sum(x * y for x, y in sampling) / max(max(across) * max(down), 1)
    return int(2 * height * width * shares)


def _png(encoded: bytes) -> Structure:
    at, parts, pixels, packed = len(_PNG), 0, 0, 0
    while at + 8 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, at)
        pixels += kind == b"IDAT"
        parts += kind != b"IDAT"
        packed += length if kind in _PACKED else 0
        if parts > MAX_PARTS or pixels > MAX_PIXEL_CHUNKS:
            return Structure("a PNG of very many chunks: save it anew")
        if kind == b"IEND":
            break
        at += length + 12
    return Structure(unpacked=_INFLATES * min(packed, len(encoded)))


def _tiff(encoded: bytes, order: str) -> Structure:
    (at,) = struct.unpack_from(order + "I", encoded, 4)
    (tags,) = struct.unpack_from(order + "H", encoded, at)
    values = 0
    for index in range(tags):
        _, kind, count = struct.unpack_from(order + "HHI", encoded, at + 2 + 12 * index)
        # Text and bytes are one value.
        values += 1 if kind in (1, 2, 6, 7) else count
    if values > MAX_VALUES:
        return Structure(f"a TIFF of more than {MAX_VALUES:,} strips or values: save it anew")
    return Structure(odd=True)
