"""Ten, twelve or sixteen bits: white is white."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.pictures import picture
from doctor_derma.images.decoding import UnreadableImage, open_image
from images.made import png_chunk, save

COLOURS = np.asarray(picture(5, (40, 30)))


def png(values: np.ndarray, kind: int) -> bytes:
    """Return 16-bit values [rows, columns, channels] as a PNG of a colour type; Pillow can't."""
    rows, columns = values.shape[:2]
    head = struct.pack(">IIBBBBB", columns, rows, 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = {b"IHDR": head, b"IDAT": zlib.compress(lines), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts.items())


def tiff(values: np.ndarray, order: str, bits: int = 16) -> bytes:
    """Return an uncompressed TIFF [rows, columns(, 3)], byte order ``<`` or ``>``."""
    rows, columns, *channels = values.shape
    count = channels[0] if channels else 1
    pixels = values.astype(order + "u2").tobytes()
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(int)
        pixels = b"".join((int(a) << 12 | int(b)).to_bytes(3) for a, b in pairs)
    fields = {
        256: columns, 257: rows, 258: bits, 259: 1, 262: 2 if channels else 1, 273: 200,
        277: count, 278: rows, 279: len(pixels),
    }  # fmt: skip
    entries = b""
    for tag, value in fields.items():
        if tag == 258 and count == 3:
            entries += struct.pack(order + "HHII", tag, 3, 3, 180)
        else:
            entries += struct.pack(order + "HHII", tag, 4, 1, value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    directory = struct.pack(order + "H", len(fields)) + entries + bytes(4)
    return ((head + directory).ljust(180, b"\0") + struct.pack(order + "HHH", *[bits] * 3)).ljust(
        200, b"\0"
    ) + pixels


def deep(bits: int) -> np.ndarray:
    """Return the same look in so many bits, white being the largest value."""
    values = (COLOURS / 255 * (2**bits - 1)).round().astype(np.uint16)
    values[0, 0] = 2**bits - 1
    return values


def largest_error(found: Image.Image, expected: np.ndarray) -> int:
    assert found.mode == "RGB"
    error = np.abs(np.asarray(found).astype(int) - expected)
    error[0, 0] = 0
    return int(error.max())


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_colours_of_fewer_bits_than_the_file_has(bits: int, tmp_path: Path) -> None:
    values = deep(bits)
    path = tmp_path / "deep.png"
    path.write_bytes(png(values, 2))
    for source in (path, path.read_bytes()):
        assert largest_error(open_image(source), COLOURS) <= 1
    for order in "<>":
        assert largest_error(open_image(tiff(values, order)), COLOURS) <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_grey_of_fewer_bits_than_the_file_has(bits: int) -> None:
    grey = deep(bits)[:, :, 0]
    expected = COLOURS[:, :, :1].repeat(3, axis=2)
    assert largest_error(open_image(png(grey[:, :, None], 0)), expected) <= 1
    for order in "<>":
        assert largest_error(open_image(tiff(grey, order)), expected) <= 1
    stored = save(Image.fromarray(grey), "TIFF", compression="tiff_lzw")
    assert largest_error(open_image(stored), expected) <= 1


def test_transparent_colours_of_twelve_bits() -> None:
    values = np.concatenate([deep(12), np.full((30, 40, 1), 65535)], axis=2).astype(np.uint16)
    assert largest_error(open_image(png(values, 6)), COLOURS) <= 1
    values[:, 20:, 3] = 0
    found = np.asarray(open_image(png(values, 6)))
    assert (found[:, 20:] == 255).all()
    assert np.abs(found[1:, :20].astype(int) - COLOURS[1:, :20]).max() <= 1


def test_a_file_of_twelve_bits_is_not_stretched() -> None:
    """Its depth is said, so that a dark picture stays dark."""
    grey = deep(12)[:, :, 0] // 8
    found = open_image(tiff(grey, "<", bits=12))
    assert largest_error(found, COLOURS[:, :, :1].repeat(3, axis=2) // 8) <= 1


def test_fractions_are_from_0_to_1_or_steps() -> None:
    grey = COLOURS[:, :, 0].astype(np.float32)
    expected = COLOURS[:, :, :1].repeat(3, axis=2)
    for values in (grey / 255, grey):
        stored = save(Image.fromarray(values), "TIFF")
        assert largest_error(open_image(stored), expected) <= 1


def test_what_can_not_be_scaled_is_named() -> None:
    grey = deep(12)[:, :, :1]
    layer = np.concatenate([grey, np.full_like(grey, 65535)], axis=2)
    with pytest.raises(UnreadableImage, match=r"12 bits in a file of 16, .*: save it in 8"):
        open_image(png(layer, 4))
    # Pixels that a caller has half opened can't be read twice.
    with pytest.raises(UnreadableImage, match="12 bits in a file of 16"):
        open_image(Image.open(io.BytesIO(png(deep(12), 2))))
