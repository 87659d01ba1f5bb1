"""How large a picture in a file of boxes or blocks says it is: HEIC, AVIF, JPEG 2000, GIF.

Decoders of these formats make room for a picture, or go through all of its parts, as soon as they
open it. This reads no more than what says how much that would be.

References
----------
.. [1] ISO/IEC 23008-12:2022, Image File Format (HEIF), 6.5.3, and ISO/IEC 14496-12, 4.2 (boxes).
.. [2] ITU-T T.800 (JPEG 2000), annex A (markers) and annex I (JP2).
.. [3] CompuServe: Graphics Interchange Format, version 89a, 1990.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

# Boxes, properties and markers; a picture from a phone, of 48 tiles, has some hundred.
MAX_BOXES = 5_000
# Blocks of 255 bytes before the first frame of a GIF: comments, profiles, XMP.
MAX_BLOCKS = 20_000
# 50 megapixels in tiles of 128x128 are 3,052.
MAX_TILES = 5_000
# Programs write none, or some of 128x128 and more.
MAX_PRECINCTS = 100_000
_FULL_BOX = 4


class Structure(NamedTuple):
    """What a file is made of.

    Attributes
    ----------
    excess : what there is too much of, or what no decoder here knows; None when all is well
    coefficients : bytes that a progressive JPEG's take, which all have to be kept at once
    unpacked : bytes that a PNG's compressed metadata may become
    odd : whether it is of a kind that few people send and that is slow or noisy to decode
    eager : whether its decoder makes room for the picture, or more, when it is merely opened
    pixels : of the largest picture that an eager one announces; 0 where none is
    levels : how often its decoder can halve it, of JPEG 2000
    """

    excess: str | None = None
    coefficients: int = 0
    unpacked: int = 0
    odd: bool = False
    eager: bool = False
    pixels: int = 0
    levels: int = 0


def heif_structure(encoded: bytes) -> Structure:
    """Look through a HEIC or AVIF: every picture in it, tiles and previews too, has its size."""
    pixels = seen = 0
    inside = {b"meta": _FULL_BOX, b"iprp": 0, b"ipco": 0}
    waiting = [(0, len(encoded))]
    while waiting:
        for kind, start, end in _boxes(encoded, *waiting.pop()):
            seen += 1
            if seen > MAX_BOXES:
                return Structure(f"a picture of more than {MAX_BOXES:,} parts: save it anew")
            if kind in inside:
                waiting.append((start + inside[kind], end))
            elif kind == b"ispe":
                width, height = struct.unpack_from(">II", encoded, start + _FULL_BOX)
                pixels = max(pixels, width * height)
    return Structure(pixels=pixels)


def jpeg_2000_structure(encoded: bytes) -> Structure:
    """Look through the main header of a JPEG 2000, as a file of boxes or without them."""
    start = 0
    if not encoded.startswith(b"\xff\x4f"):
        boxes = zip(range(MAX_BOXES), _boxes(encoded, 0, len(encoded)), strict=False)
        start = next((at for _, (kind, at, _) in boxes if kind == b"jp2c"), len(encoded))
    if encoded[start : start + 4] != b"\xff\x4f\xff\x51":
        return Structure()
    right, down, left, top, wide, high, tiles_left, tiles_top, components = struct.unpack_from(
        ">8IH", encoded, start + 8
    )
    width, height = max(right - left, 0), max(down - top, 0)
    across = -(-max(right - tiles_left, 0) // max(wide, 1))
    if across * -(-max(down - tiles_top, 0) // max(high, 1)) > MAX_TILES:
        return Structure(f"a JPEG 2000 of more than {MAX_TILES:,} tiles: save it anew")
    levels = 0
    for marker, at in _markers(encoded, start + 2):
        if marker != 0x52 or at + 12 > len(encoded):
            continue
        style, levels = encoded[at + 2], encoded[at + 7]
        sizes = encoded[at + 12 : at + 13 + levels] if style & 1 else b""
        if _precincts(width, height, sizes) * components > MAX_PRECINCTS:
            return Structure(f"a JPEG 2000 of more than {MAX_PRECINCTS:,} parts: save it anew")
    return Structure(pixels=width * height, levels=min(levels, 32))


def gif_structure(encoded: bytes) -> Structure:
    """Look through a GIF up to its first frame, which is the one that is decoded."""
    width, height, flags = struct.unpack_from("<HHB", encoded, 6)
    palette = 3 << ((flags & 7) + 1) if flags & 0x80 else 0
    at, blocks, inside = 13 + palette, 0, False
    # Extensions: a label and blocks, the last of them empty.
    while inside or encoded[at : at + 1] == b"\x21":
        at += 0 if inside else 2
        length = encoded[at] if at < len(encoded) else 0
        at, inside, blocks = at + 1 + length, length > 0, blocks + 1
        if blocks > MAX_BLOCKS:
            return Structure(f"a GIF of more than {MAX_BLOCKS:,} blocks: save it anew")
    # A frame may be larger than the picture that it is in.
    if encoded[at : at + 1] == b"\x2c":
        left, top, across, down = struct.unpack_from("<4H", encoded, at + 1)
        width, height = max(width, left + across), max(height, top + down)
    return Structure(pixels=width * height)


def _boxes(encoded: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, first byte after the head and end of each box."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", encoded, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", encoded, start + 8)
            head = 16
        # The last box may go on to the end.
        following = start + size if size else end
        if following < start + head:
            return
        yield kind, start + head, min(following, end)
        start = following


def _markers(encoded: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Give code and first byte after it of the segments before the first tile."""
    for _ in range(MAX_BOXES):
        marker, code, length = struct.unpack(">BBH", encoded[at : at + 4].ljust(4, b"\0"))
        if marker != 0xFF or code == 0x90:
            return
        yield code, at + 2
        at += 2 + max(length, 2)


def _precincts(width: int, height: int, sizes: bytes) -> int:
    """Count the precincts of all resolutions, the smallest first; ``sizes`` are powers of two."""
    total = 0
    for halvings, size in enumerate(reversed(sizes)):
        across, down = -(-width >> halvings), -(-height >> halvings)
        total += -(-across >> (size & 15)) * -(-down >> (size >> 4))
    return total
