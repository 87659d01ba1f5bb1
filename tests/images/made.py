"""Small pictures as files of every kind, made here; tests compare with how they were made."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image


def corners(width: int = 64, height: int = 48) -> Image.Image:
    """Return a picture that is red, green, blue and white in its four quarters."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = slice(0, height // 2), slice(0, width // 2)
    below, right = slice(height // 2, None), slice(width // 2, None)
    pixels[top, left], pixels[top, right] = (255, 0, 0), (0, 255, 0)
    pixels[below, left], pixels[below, right] = (0, 0, 255), (255, 255, 255)
    return Image.fromarray(pixels)


def save(picture: Image.Image, format: str = "PNG", **settings: Any) -> bytes:
    """Return a picture as a file, in a format that Pillow writes."""
    stream = io.BytesIO()
    picture.save(stream, format, **settings)
    return stream.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG, with its length and its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def heic(picture: Image.Image, **settings: Any) -> bytes:
    """Return a picture as a HEIC file, if not told else without loss but for rounding."""
    stream = io.BytesIO()
    kept = {"quality": -1, "chroma": 444, **settings}
    pillow_heif.from_pillow(picture).save(stream, **kept)
    return stream.getvalue()


def with_size(encoded: bytes, width: int, height: int) -> bytes:
    """Return a HEIC or AVIF that announces another size of all its pictures."""
    parts = encoded.split(b"ispe")
    said = [part[:4] + struct.pack(">II", width, height) + part[12:] for part in parts[1:]]
    return b"ispe".join([parts[0], *said])


def jpeg_2000_head(width: int, height: int, tile: int, precinct: int = 15) -> bytes:
    """Return the main header of a JPEG 2000 that says such sizes (ITU-T T.800, annex A)."""
    size = struct.pack(">H8IH", 0, width, height, 0, 0, tile, tile, 0, 0, 3) + b"\7\1\1" * 3
    coding = struct.pack(">BBHB", 1, 0, 1, 1) + bytes([5, 4, 4, 0, 1]) + bytes([17 * precinct] * 6)
    quantised = b"\x40" + bytes(16)
    segments = ((0x51, size), (0x52, coding), (0x5C, quantised))
    return b"\xff\x4f" + b"".join(
        struct.pack(">HH", 0xFF00 | code, len(data) + 2) + data for code, data in segments
    )


def tiff_of_tags(*tags: tuple[int, int, int, int], below: tuple[int, ...] = ()) -> bytes:
    """Return a TIFF of one directory, and one below it that has the photometric values given."""
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = b"II*\0" + struct.pack("<I", 8) + directory + bytes(4)
    sub = b"".join(struct.pack("<HHHII", 1, 262, 3, 1, value) + bytes(4) for value in below)
    return start + sub + bytes(200)
