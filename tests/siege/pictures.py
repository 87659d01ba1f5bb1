"""Pictures that mean no good, made here from a seed: the worst for memory, time and the log."""

import struct
import zlib
from functools import cache

import httpx
import numpy as np
import pyvips
from PIL import Image

from images.made import heic, png_chunk, save
from server.hostile import hostile_files

SIDE = 7000
MOST_BYTES = 19_900_000


@cache
def worst_pictures() -> dict[str, bytes]:
    """Return some 240 files by name."""
    worst = {**_fifty_megapixels(), **_parts(), **_broken(), **_slow()}
    hostile = sorted(hostile_files().items(), key=lambda item: len(item[1]), reverse=True)
    newer = {name: data for name, data in hostile if name.startswith("promising/")}
    worst |= _large_of_newer_kinds() | newer
    return {**worst, **dict(hostile[: 240 - len(worst)])}


def ordinary_picture() -> bytes:
    """Return a JPEG as a dermatoscope makes it."""
    return save(_noise(600, 450), "JPEG", quality=90)


def refuse(url: str, times: int, large: bytes) -> None:
    """Send pictures that the server decodes in vain, of four kinds; ``large`` is one by itself."""
    noise = ordinary_picture()
    comments = b"\xff\xd8" + b"\xff\xfe\x00\x04ab" * 10_000
    kinds = [noise[: len(noise) // 2], b"no picture" * 7_000, comments]
    with httpx.Client(trust_env=False, timeout=60) as client:
        for index in range(times):
            data = large if index % 400 == 0 else kinds[index % 3]
            answer = client.post(url, content=data, headers={"content-type": "image/jpeg"})
            assert answer.status_code in (413, 415, 422), answer.text


def _noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(60, 200, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def _plain(mode: str, width: int = SIDE, height: int = SIDE) -> Image.Image:
    return Image.new(mode, (width, height), 3 if mode in ("1", "L", "P", "I;16") else None)


@cache
def _fifty_megapixels() -> dict[str, bytes]:
    files = {
        f"png {mode}": save(_plain(mode), "PNG", compress_level=1)
        for mode in ("1", "L", "RGBA", "I;16")
    }
    turned = Image.Exif()
    turned[0x0112] = 6
    files["png RGBA turned"] = save(_plain("RGBA"), "PNG", exif=turned, compress_level=1)
    files["png palette transparent"] = save(_plain("P"), "PNG", transparency=0, compress_level=1)
    files["webp RGBA"] = save(_plain("RGBA"), "WEBP", method=0)
    files["webp lossless"] = save(_plain("RGB"), "WEBP", lossless=True, method=0)
    files["webp animated"] = save(
        _plain("RGB"), "WEBP", save_all=True, append_images=[_plain("L").convert("RGB")], method=0
    )
    for mode in ("L", "RGB", "CMYK"):
        files[f"jpeg {mode}"] = save(_plain(mode), "JPEG")
        files[f"jpeg progressive {mode}"] = save(
            _plain(mode), "JPEG", progressive=True, subsampling=0
        )
    files["jpeg narrow"] = save(_plain("RGB", 1000, 49_000), "JPEG")
    for mode in ("RGB", "CMYK"):
        files[f"tiff {mode}"] = save(_plain(mode), "TIFF", compression="tiff_lzw")
    files["bmp 1"] = save(_plain("1"), "BMP")
    black = pyvips.Image.black(SIDE, SIDE, bands=4).copy(interpretation="srgb")
    files["png interlaced"] = black.pngsave_buffer(interlace=True, compression=1)
    files["png 16 bits"] = (
        black.cast("ushort").copy(interpretation="rgb16").pngsave_buffer(compression=1)
    )
    files["tiff tiled"] = black.tiffsave_buffer(tile=True, compression="deflate")
    files["webp of a camera"] = save(_noise(3000, 2000).resize((6000, 4000)), "WEBP", method=0)
    return files


def _large_of_newer_kinds() -> dict[str, bytes]:
    """Return good files of kinds that take much to decode, as telephones and scanners write."""
    large = _noise(500, 375).resize((4000, 3000))
    return {
        "heic 24 megapixels": heic(
            large.resize((5712, 4284)), chroma=420, quality=40, enc_params={"preset": "ultrafast"}
        ),
        "avif 12 megapixels": save(large, "AVIF", speed=10),
        "avif 50 megapixels": save(_plain("RGB"), "AVIF", speed=10),
        "jp2 50 megapixels": save(_plain("RGB"), "JPEG2000"),
        "jp2 without levels": save(_plain("L"), "JPEG2000", num_resolutions=1),
        "gif 50 megapixels": save(_plain("L"), "GIF"),
    }


def _parts() -> dict[str, bytes]:
    whole = save(_noise(60, 45), "JPEG")
    png = save(_noise(60, 45), "PNG")

    def jpeg_with(part: bytes) -> bytes:
        return whole[:2] + part * ((MOST_BYTES - len(whole)) // len(part)) + whole[2:]

    def png_with(part: bytes) -> bytes:
        return png[:33] + part * ((MOST_BYTES - len(png)) // len(part)) + png[33:]

    return {
        "jpeg empty segments": jpeg_with(b"\xff\xe1\x00\x02"),
        "jpeg comments": jpeg_with(b"\xff\xfe\x00\x04ab"),
        "jpeg fill": jpeg_with(b"\xff"),
        "jpeg zeros": jpeg_with(b"\0"),
        "jpeg starts": jpeg_with(b"\xff\xd8"),
        "png text": png_with(png_chunk(b"tEXt", b"k\0v")),
        "png empty pixels": png_with(png_chunk(b"IDAT", b"")),
        "png unknown": png_with(png_chunk(b"abCd", b"")),
        "png bombs": png_with(png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(30_000_000), 9))),
        "tiff strips": _tiff(strips=2_000_000),
        "tiff strips that may be": _tiff(strips=45_000),
        "tiff unknown tags": _tiff(tags=4_000),
    }


def _tiff(strips: int = 1, tags: int = 0) -> bytes:
    entries = [(256, 4, 1, 8), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, strips, 60_000), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, 60_000)]
    entries += [(1000 + index, 99, 1, 0) for index in range(tags)]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(60_000 + 4 * strips)


def _broken() -> dict[str, bytes]:
    files = {}
    for name, data in _fifty_megapixels().items():
        files[f"{name}, cut"] = data[: len(data) * 2 // 3]
    return files


def _slow() -> dict[str, bytes]:
    progressive = save(_noise(1600, 1200), "JPEG", progressive=True, quality=30)
    last = progressive[progressive.rindex(b"\xff\xda") : -2]
    runs = b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078)
    runs += struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 1, 0, 0, 0, 256, 0) + bytes(1024)
    return {
        "jpeg scans": progressive[:-2] + last * 39 + b"\xff\xd9",
        "bmp runs": runs + b"\1\2" * 9_000_000,
    }
