"""Files of boxes, blocks and elements that promise too much: HEIC, AVIF, JPEG 2000, GIF, DICOM."""

import struct
from itertools import repeat

import numpy as np
from PIL import Image

from images.made import heic, jpeg_2000_head, save, with_size
from images.test_dicom import DEFLATED, JPEG, dicom
from server.hostile.pictures import noise


def promising_files(seed: int) -> dict[str, bytes]:
    """Return files whose sizes, frames, tiles or packing are far more than what follows."""
    picture = noise("RGB", 64, 64, seed)
    heic_, avif = heic(picture), save(picture, "AVIF")
    jp2, gif = save(picture, "JPEG2000"), save(picture.quantize(16), "GIF")
    colours = np.asarray(picture)
    files = {}
    for width, height in ((0, 0), (7_000, 7_000), (16_000, 16_000), (2**32 - 1, 2**32 - 1)):
        files[f"heic-{width}"] = with_size(heic_, width, height)
        files[f"avif-{width}"] = with_size(avif, width, height)
    for side in (0, 7_000, 2**31):
        head = jpeg_2000_head(side, side, max(side, 1))
        files[f"j2k-{side}"] = head + b"\xff\x90" + bytes(2_000)
    for tile, precinct in ((1, 15), (2**31, 15), (7_000, 0)):
        files[f"j2k-tile-{tile}-{precinct}"] = jpeg_2000_head(7_000, 7_000, tile, precinct)
    for side in (0, 7_000, 65_535):
        files[f"gif-{side}"] = gif[:6] + struct.pack("<HH", side, side) + gif[10:]
    frames = [noise("P", 16, 16, seed + index) for index in range(100)]
    row, data = dicom(colours), bytes(9_000_000)
    return files | {
        "heic-many-boxes": heic_[:28] + b"\0\0\0\x08free" * 100_000,
        "heic-no-pixels": heic_[: heic_.index(b"mdat")] + b"mdat",
        "jp2-cut": jp2[: len(jp2) // 2],
        "gif-many-frames": save(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "gif-many-blocks": gif[:10] + b"\0\0\0" + b"\x21\xfe" + b"".join(repeat(b"\1a", 500_000)),
        "gif-many-empty-blocks": gif[:10] + b"\0\0\0" + b"\x21\xfe\0" * 500_000,
        "dicom-rows": dicom(colours, Rows=65_535, Columns=65_535),
        "dicom-fifty-megapixels": dicom(colours, Rows=7_000, Columns=7_000),
        "dicom-frames": dicom(colours, NumberOfFrames=2**31 - 1),
        "dicom-frame-larger": dicom(
            colours, JPEG, frames=[save(Image.new("RGB", (7_000, 7_000)), "JPEG")]
        ),
        "dicom-deflated": dicom(np.frombuffer(data, np.uint8).reshape(3_000, 1_000, 3), DEFLATED),
        "dicom-many-elements": row[:-12_300] + b"\x08\0\x05\0CS\0\0" * 100_000,
    }
