"""Large pictures are made smaller while they are read, and look as if they had not been."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from doctor_derma.images import decoding
from doctor_derma.images.decoding import UnreadableImage, decode, open_image
from doctor_derma.images.large_pictures import bytes_to_decode
from images.made import save

ORIENTATION = 0x0112
PEAK = """
import re, sys
from pathlib import Path
from doctor_derma.images import decoding

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

data = sys.stdin.buffer.read()
decoding.LARGE_BYTES = int(sys.argv[1])
before = peak()
decoding.decode(data, 64, 64)
print(1024 * (peak() - before))
"""


def scene(mode: str, width: int = 160, height: int = 120) -> Image.Image:
    """Return a smooth picture, half of it transparent where the mode can be."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=2)
    colours = Image.fromarray(rgb.astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray((rgb[:, :, 0] * 257).astype(np.uint16))
    if mode in ("RGBA", "LA"):
        picture = colours.convert(mode)
        picture.putalpha(Image.fromarray((255 - rgb[:, :, 1]).astype(np.uint8)))
        return picture
    return colours.convert(mode)


@pytest.fixture
def always_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LARGE_BYTES", 1)


def oriented(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = number
    return exif


@pytest.mark.parametrize(
    ("mode", "format", "settings"),
    [
        *((mode, "PNG", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *((mode, "TIFF", {}) for mode in ("L", "RGB", "RGBA", "CMYK", "I;16")),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("RGB", "WEBP", {"save_all": True, "append_images": [scene("RGB")], "lossless": True}),
        *(("RGB", "PNG", {"exif": oriented(number)}) for number in range(1, 9)),
        ("RGB", "WEBP", {"exif": oriented(6), "lossless": True}),
        ("RGB", "TIFF", {"exif": oriented(8)}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_large_picture_looks_as_pillow_has_it(
    mode: str, format: str, settings: dict[str, object], always_large: None
) -> None:
    data = save(scene(mode), format, **settings)
    found = open_image(data, least_side=40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "LARGE_BYTES", 10**9)
        whole = open_image(data)
    assert found.mode == whole.mode == "RGB"
    assert min(found.size) == 40
    assert max(found.size) < 80
    small = whole.resize(found.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(found).astype(int) - np.asarray(small))
    assert difference.mean() < 2.5
    assert np.percentile(difference, 99) <= 16


def test_a_profile_counts(always_large: None) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    swapped = save(scene("RGB"), "PNG", icc_profile=profile.tobytes())
    assert open_image(swapped).mode == "RGB"


def test_ordinary_pictures_are_pillows_bit_for_bit() -> None:
    noise = Image.effect_noise((1024, 768), 80).convert("RGB")
    for size in ((600, 450), (1024, 768), (1024, 1024), (17, 5)):
        for settings in ({}, {"progressive": True}, {"subsampling": 0}):
            data = save(noise.resize(size), "JPEG", quality=90, **settings)
            plain = Image.open(io.BytesIO(data)).convert("RGB")
            expected = plain.resize((192, 144), Image.Resampling.BILINEAR, reducing_gap=3.0)
            found = decode(data, 144, 192)
            assert found.size == size
            assert np.array_equal(found.pixels, np.asarray(expected))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_a_cut_picture_is_not_half_a_picture(format: str, always_large: None) -> None:
    noise = Image.effect_noise((200, 200), 80).convert("RGB")
    data = save(noise, format)
    with pytest.raises(UnreadableImage, match="corrupt or truncated"):
        open_image(data[: len(data) * 2 // 3])


@pytest.mark.parametrize(
    ("mode", "format", "settings"),
    [
        ("RGBA", "PNG", {}),
        ("I;16", "PNG", {}),
        ("P", "PNG", {}),
        ("RGBA", "WEBP", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        # All of it in one strip.
        ("RGB", "TIFF", {"compression": "tiff_lzw", "strip_size": 10**9}),
    ],
    ids=str,
)
def test_fifty_megapixels_take_little_memory(
    mode: str, format: str, settings: dict[str, object]
) -> None:
    plain = Image.new(mode, (7000, 7000), 3 if mode in ("I;16", "P") else "red")
    assert peak(save(plain, format, **settings), decoding.LARGE_BYTES) < 90_000_000


@pytest.mark.parametrize(
    ("mode", "format"), [("RGB", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"), ("RGBA", "WEBP")]
)
def test_what_pillow_takes_is_known_before(mode: str, format: str) -> None:
    data = save(Image.new(mode, (3000, 3000), 3 if mode == "I;16" else "red"), format)
    expected = bytes_to_decode(Image.open(io.BytesIO(data)))
    taken = peak(data, large_bytes=10**12)
    assert 0.3 * expected < taken < 1.15 * expected + 10_000_000


def peak(data: bytes, large_bytes: int) -> int:
    """Return the bytes that a process of its own takes for a picture, all in all."""
    command = [sys.executable, "-c", PEAK, str(large_bytes)]
    return int(subprocess.run(command, input=data, capture_output=True, check=True).stdout)
