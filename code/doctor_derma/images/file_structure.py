"""What a file is, from its bytes alone: of which kind, and made of how many parts.

A decoder goes through all parts of a file, and nothing in the formats limits them: millions of
empty segments keep one busy for seconds, and a few bytes are one more pass over all pixels. No
camera and no program makes so many.
"""

import re
import struct
from typing import NamedTuple

# Encoders of JPEG make some ten scans and at most some twenty.
MAX_SCANS = 50
# Segments of a JPEG, chunks of a PNG without those of pixels. A depth map in the metadata of a
# telephone's picture fills some hundred.
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
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_BIG_TIFF = (b"II+\0", b"MM\0+")
_SCAN, _END = 0xDA, 0xD9
# After a scan's header comes coded data, in which FF is followed by 00 or a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_PACKED = (b"zTXt", b"iTXt", b"iCCP")

# Files that people take for pictures and that are not read here, by their first bytes.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"qt  ", b"isom", b"mp41", b"mp42", b"M4V "), "a video"),
    b"crx ": "a raw file of a camera",
}
_BEGINNINGS = (
    (rb"GIF8[79]a", "GIF"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\x00\x00\x00\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb".{128}DICM", "DICOM"),
    (rb"8BPS", "a file of Photoshop"),
    (rb"%PDF", "PDF"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", "SVG"),
    (rb"PK\x03\x04", "a zip archive or office file"),
    (rb"FUJIFILM|IIRO|IIU\x00", "a raw file of a camera"),
    (rb"\s*<(!doctype|html)", "a web page"),
    (rb"version https://git-lfs", "the pointer of a file that Git LFS has not fetched"),
)
# Of these a folder of pictures may hold some, without anybody thinking them pictures.
_DOCUMENTS = frozenset({"PDF", "a zip archive or office file", "a web page", "a video"})
_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".gif", ".jp2", ".j2k", ".jxl", ".dcm", ".dicom", ".psd", ".svg"}
    | {".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".raw", ".ico", ".tga"}
)
# Bytes of a beginning that tell.
LENGTH = 512


class Structure(NamedTuple):
    """What a file is made of.

    Attributes
    ----------
    excess : what there is too much of, or what no decoder here knows; None when all is well
    coefficients : bytes that a progressive JPEG's take, which all have to be kept at once
    unpacked : bytes that a PNG's compressed metadata may become
    odd : whether it is of a kind that few people send and that is slow or noisy to decode
    """

    excess: str | None = None
    coefficients: int = 0
    unpacked: int = 0
    odd: bool = False


def look_through(encoded: bytes) -> Structure:
    """Return what a file is made of, in a time that hardly depends on what is in it."""
    try:
        if encoded.startswith(_JPEG):
            return _jpeg(encoded)
        if encoded.startswith(_PNG):
            return _png(encoded)
        if order := _TIFF.get(encoded[:4]):
            return _tiff(encoded, order)
        if encoded.startswith(_BIG_TIFF):
            return Structure(odd=True)
        if encoded.startswith(_BMP):
            # Runs, which Pillow goes through in Python.
            (compression,) = struct.unpack_from("<I", encoded, 30)
            return Structure(odd=compression in (1, 2))
    except struct.error:
        pass  # It ends too early, as the decoder will say.
    return Structure()


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


def is_known(start: bytes) -> bool:
    """Say whether a file begins as one of a format that is read."""
    if start.startswith(b"RIFF"):
        return start[8:12] == b"WEBP"
    return start.startswith((_JPEG, _PNG, _BMP, *_TIFF, *_BIG_TIFF))


def foreign_kind(head: bytes) -> str | None:
    """Return what a file is by its first ``LENGTH`` bytes, such as HEIC; None where unknown."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "a video or a picture of another kind")
    for beginning, kind in _BEGINNINGS:
        if re.match(beginning, head, re.DOTALL | re.IGNORECASE):
            return kind
    return None


def foreign_picture(suffix: str, head: bytes) -> bool:
    """Say whether a file is a picture of a kind that is not read, by its suffix or first bytes."""
    kind = foreign_kind(head)
    return suffix in _SUFFIXES or (kind is not None and kind not in _DOCUMENTS)


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
    sampling = [frame[9 + 3 * index] for index in range(min(components, 4))]
    across, down = ([value >> 4 for value in sampling], [value & 15 for value in sampling])
    most = max(max(across) * max(down), 1)
    shares = sum(x * y for x, y in zip(across, down, strict=True)) / most
    return int(2 * height * width * shares)


def _png(encoded: bytes) -> Structure:
    at, parts, pixels, packed = len(_PNG), 0, 0, 0
    while at + 8 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, at)
        if kind == b"IDAT":
            pixels += 1
        else:
            parts += 1
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
