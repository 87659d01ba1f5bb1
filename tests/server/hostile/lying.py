"""Files whose headers promise something else than what follows: sizes, loops, bombs."""

import struct
import zlib

from images.made import png_chunk, save
from server.hostile.pictures import base_files, noise

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HUGE = (0, 1, 10_001, 65_535, 2**31 - 1, 2**32 - 1)


def lying_files(seed: int) -> dict[str, bytes]:
    """Return files that make a careless decoder allocate, loop or read what isn't there."""
    return {**_png(seed), **_jpeg(seed), **_tiff(), **_bmp(seed), **_webp(seed)}


def _make_png(
    width: int, height: int, depth: int, colour: int, pixels: bytes, *chunks: bytes
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(chunks) + png_chunk(b"IDAT", pixels)
    return SIGNATURE + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def _png(seed: int) -> dict[str, bytes]:
    row = zlib.compress(bytes(100))
    files = {f"png-{size}": _make_png(size, size, 8, 2, row) for size in HUGE}
    files |= {f"png-wide-{size}": _make_png(size, 1, 1, 0, row) for size in HUGE}
    files |= {
        f"png-depth-{depth}-colour-{colour}": _make_png(8, 8, depth, colour, row)
        for depth in (0, 3, 16, 255)
        for colour in (0, 1, 3, 6, 255)
    }
    bomb = zlib.compress(bytes(30_000_000), 9)
    text = png_chunk(b"zTXt", b"k\0\0" + bomb)
    profile = png_chunk(b"iCCP", b"p\0\0" + bomb)
    some = zlib.compress(bytes(8 * 25))
    return files | {
        "png-more-than-it-says": _make_png(8, 8, 8, 2, bomb),
        "png-bomb-under-the-limit": _make_png(5000, 5000, 1, 0, zlib.compress(bytes(626 * 5000))),
        "png-bomb-over-the-limit": _make_png(
            *(20_000, 20_000, 1, 0), zlib.compress(bytes(2501 * 20_000), 9)
        ),
        "png-text-bomb": _make_png(8, 8, 8, 2, some, text),
        "png-many-text-bombs": _make_png(8, 8, 8, 2, some, *[text] * 20),
        "png-profile-bomb": _make_png(8, 8, 8, 2, some, profile),
        "png-many-chunks": _make_png(8, 8, 8, 2, some, *[png_chunk(b"tEXt", b"k\0v")] * 20_000),
        "png-no-palette": _make_png(8, 8, 8, 3, zlib.compress(bytes(8 * 9))),
        "png-short-palette": _make_png(
            *(8, 8, 8, 3), zlib.compress(b"\xff" * 72), png_chunk(b"PLTE", b"abc")
        ),
        "png-no-pixels": SIGNATURE
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)),
        "png-chunk-without-end": SIGNATURE + struct.pack(">I", 2**31 - 1) + b"IHDR" + bytes(100),
        "png-exif-loop": _make_png(8, 8, 8, 2, some, png_chunk(b"eXIf", _loop())),
    }


def _jpeg(seed: int) -> dict[str, bytes]:
    good, progressive = base_files(seed)["jpeg"], base_files(seed)["progressive"]
    files = {}
    at = good.index(b"\xff\xc0")
    for size in (0, 1, 9000, 65_535):
        sized = good[: at + 5] + struct.pack(">HH", size, size) + good[at + 9 :]
        files[f"jpeg-{size}"] = sized
    for count in (0, 2, 4, 255):
        files[f"jpeg-{count}-components"] = good[: at + 9] + bytes([count]) + good[at + 10 :]
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    head = progressive[:-2]
    wide = progressive.index(b"\xff\xc2")
    large = head[: wide + 5] + struct.pack(">HH", 6000, 8000) + head[wide + 9 :]
    start = good[:2]
    return files | {
        "jpeg-many-scans": head + scan * 2_000 + b"\xff\xd9",
        "jpeg-many-scans-of-many-pixels": large + scan[:14] * 20_000 + b"\xff\xd9",
        "jpeg-many-comments": start + b"\xff\xfe\x00\x04ab" * 100_000 + good[2:],
        "jpeg-many-starts": start * 10_000 + good,
        "jpeg-empty-segments": start + b"\xff\xe1\x00\x02" * 50_000 + good[2:],
        "jpeg-segment-of-nothing": start + b"\xff\xe1\x00\x00" + good[2:],
        "jpeg-segment-past-the-end": start + b"\xff\xe1\xff\xff",
        "jpeg-exif-loop": start + _segment(b"Exif\0\0" + _loop()) + good[2:],
        "jpeg-exif-far": start + _segment(b"Exif\0\0II*\0\xff\xff\xff\x7f") + good[2:],
        "jpeg-mpo": start + _segment(b"MPF\0" + _loop(), 0xE2) + good[2:],
        "jpeg-progressive-of-nothing": b"\xff\xd8\xff\xc2\0\x08\x08\0\x10\0\x10\0\xff\xd9",
        "jpeg-photoshop": start + _segment(b"Photoshop 3.0\0" + b"8BIM" * 9, 0xED) + good[2:],
    }


def _segment(data: bytes, marker: int = 0xE1) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def _loop() -> bytes:
    """Return TIFF data whose directories point at themselves."""
    itself = struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x0112, 3, 1, 6)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 2) + itself + struct.pack("<I", 8)


def _make_tiff(*tags: tuple[int, int, int, int], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(3000)


def _tiff() -> dict[str, bytes]:
    def grey(width: int, height: int, *others: tuple[int, int, int, int], following: int = 0):
        replaced = {tag[0] for tag in others}
        plain = (
            *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)),
            *((262, 3, 1, 1), (273, 4, 1, 200), (277, 3, 1, 1), (278, 4, 1, height)),
            (279, 4, 1, width * height % 2**32),
        )
        kept = [tag for tag in plain if tag[0] not in replaced]
        return _make_tiff(*kept, *others, following=following)

    files = {f"tiff-{size}": grey(size, size) for size in HUGE}
    files |= {f"tiff-bits-{bits}": grey(8, 8, (258, 3, 1, bits)) for bits in (0, 7, 12, 64, 65535)}
    files |= {
        f"tiff-compression-{code}": grey(8, 8, (259, 3, 1, code))
        for code in (2, 3, 5, 6, 7, 8, 34712, 34925, 50000, 65535)
    }
    # Found by fuzzing: a tag of another type than its own, such as an offset that is a fraction.
    files |= {
        f"tiff-tag-{tag}-type-{kind}": grey(8, 8, (tag, kind, 1, 200))
        for tag in (256, 257, 258, 259, 262, 273, 277, 278, 279)
        for kind in (2, 5, 7, 12)
    }
    return files | {
        "tiff-loop": _loop(),
        "tiff-pages-loop": grey(8, 8, following=8),
        "tiff-exif-loop": grey(8, 8, (0x8769, 4, 1, 8)),
        "tiff-sub-loop": grey(8, 8, (330, 4, 1, 8)),
        "tiff-strip-far": grey(8, 8, (273, 4, 1, 2**31)),
        "tiff-strips-many": grey(8, 8, (273, 4, 2**30, 200), (279, 4, 2**30, 200)),
        "tiff-rows-none": grey(8, 8, (278, 4, 1, 0)),
        "tiff-samples-many": grey(8, 8, (277, 3, 1, 65535)),
        "tiff-text-long": grey(8, 8, (270, 2, 2**32 - 1, 200)),
        "tiff-tile-huge": grey(
            *(8, 8, (322, 4, 1, 2**30), (323, 4, 1, 2**30), (324, 4, 1, 200), (325, 4, 1, 64))
        ),
        "tiff-no-tags": _make_tiff(),
        "tiff-fraction-of-zero": grey(8, 8, (282, 5, 1, 2990)),
    }


def _bmp(seed: int) -> dict[str, bytes]:
    good = save(noise("RGB", 9, 9, seed), "BMP")
    files = {}
    for size in (0, 1, -1, -(2**31), 2**31 - 1, 30_000):
        files[f"bmp-{size}"] = good[:18] + struct.pack("<ii", size, size) + good[26:]
    for bits in (0, 1, 3, 16, 64):
        files[f"bmp-bits-{bits}"] = good[:28] + struct.pack("<H", bits) + good[30:]
    for compression in (1, 2, 3, 4, 99):
        files[f"bmp-compression-{compression}"] = (
            good[:30] + struct.pack("<I", compression) + good[34:]
        )
    files["bmp-pixels-far"] = good[:10] + struct.pack("<I", 2**32 - 1) + good[14:]
    files["bmp-header-long"] = good[:14] + struct.pack("<I", 2**32 - 1) + good[18:]
    return files


def _webp(seed: int) -> dict[str, bytes]:
    good = base_files(seed)["lossless"]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6
    body = b"WEBP" + extended + good[12:]
    return {
        "webp-canvas-huge": b"RIFF" + struct.pack("<I", len(body)) + body,
        "webp-length-zero": good[:4] + bytes(4) + good[8:],
        "webp-length-huge": good[:4] + b"\xfe\xff\xff\xff" + good[8:],
        "webp-chunk-huge": good[:16] + b"\xff\xff\xff\xff" + good[20:],
    }
