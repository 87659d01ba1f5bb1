"""Parts of a file are counted as a decoder meets them, and too many are refused soon."""

import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from doctor_derma.images import file_structure
from doctor_derma.images.decoding import UnreadableImage, open_image
from doctor_derma.images.file_structure import MAX_SCANS, look_through, webp_size
from doctor_derma.images.formats import is_known
from images import made
from images.made import png_chunk

MOST_BYTES = 20_000_000


def save(format: str, mode: str = "RGB", **settings: object) -> bytes:
    return made.save(Image.effect_noise((64, 48), 90).convert(mode), format, **settings)


def jpeg(**settings: object) -> bytes:
    return save("JPEG", **settings)


def with_parts(part: bytes, size: int = MOST_BYTES) -> bytes:
    """Return a JPEG with as many such parts behind its start as fit."""
    whole = jpeg()
    return whole[:2] + part * ((size - len(whole)) // len(part)) + whole[2:]


def png_with(part: bytes, times: int) -> bytes:
    whole = save("PNG")
    return whole[:33] + part * times + whole[33:]


def tiff_of(strips: int) -> bytes:
    """Return a TIFF whose pixels are in so many strips, all of them the same."""
    tags = [(256, 4, 1, 8), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, strips, 200), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, 200)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4 * strips + 1000)


@pytest.mark.parametrize(
    "settings",
    [
        {"format": "JPEG"},
        {"format": "JPEG", "progressive": True},
        {"format": "JPEG", "mode": "CMYK"},
        {"format": "JPEG", "comment": b"\xff\xda" * 1000},
        {"format": "JPEG", "exif": b"Exif\0\0" + b"\xff\xc9" * 1000},
        {"format": "JPEG", "restart_marker_blocks": 1},
        {"format": "JPEG", "icc_profile": bytes(2_000_000)},
        {"format": "PNG"},
        {"format": "PNG", "icc_profile": bytes(1000)},
        {"format": "BMP"},
        {"format": "TIFF"},
        {"format": "WEBP"},
    ],
    ids=str,
)
def test_what_programs_write_is_never_too_much(settings: dict[str, object]) -> None:
    assert look_through(save(**settings)).excess is None  # type: ignore[arg-type]


def test_scans_are_counted() -> None:
    whole = jpeg(progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    # The script of libjpeg's jpeg_simple_progression for three components has ten.
    kept = whole[:-2] + last * (MAX_SCANS - 10) + b"\xff\xd9"
    assert open_image(kept).size == (64, 48)
    assert look_through(kept).odd
    assert not look_through(whole).odd
    with pytest.raises(UnreadableImage, match="a JPEG of more than 50 scans: save it anew"):
        open_image(kept[:-2] + last + b"\xff\xd9")
    # Phones put a film behind their pictures.
    assert look_through(jpeg() + b"\xff\xda" * 1000).excess is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_parts(b"\xff\xe1\x00\x02"), "segments"),
        (with_parts(b"\xff\xfe\x00\x04ab"), "segments"),
        (with_parts(b"\xff\xd0"), "gaps"),
        (with_parts(b"\xff"), "gaps"),
        (b"\xff\xd8" + b"\xff" * MOST_BYTES, "gaps"),
        (with_parts(b"\0"), "gaps"),
        (png_with(png_chunk(b"tEXt", b"k\0v"), 1_000_000), "chunks"),
        (png_with(png_chunk(b"IDAT", b""), 1_000_000), "chunks"),
        (tiff_of(2_000_000), "strips"),
    ],
    ids=[
        "segments",
        "comments",
        "restarts",
        "fill",
        "nothing",
        "zeros",
        "text",
        "pixels",
        "strips",
    ],
)
def test_very_many_parts_are_refused_soon(data: bytes, reason: str) -> None:
    start = time.process_time()
    with pytest.raises(UnreadableImage, match=reason):
        open_image(data)
    assert time.process_time() - start < 1


def test_coefficients_are_counted_with_their_sampling() -> None:
    full = jpeg(progressive=True, subsampling=0)
    assert look_through(full).coefficients == 2 * 64 * 48 * 3
    assert look_through(jpeg(progressive=True, subsampling=2)).coefficients == 64 * 48 * 3
    assert look_through(jpeg()).coefficients == 0


def test_a_frame_without_components_is_left_to_the_decoder() -> None:
    data = b"\xff\xd8\xff\xc2\0\x08\x08\0\x10\0\x10\0\xff\xd9"
    assert look_through(data) == file_structure.Structure()
    with pytest.raises(UnreadableImage, match="damaged header"):
        open_image(data)


def test_compressed_metadata_count_as_what_they_may_become() -> None:
    packed = zlib.compress(bytes(30_000_000), 9)
    bomb = png_with(png_chunk(b"zTXt", b"k\0\0" + packed), 2)
    assert 60_000_000 < look_through(bomb).unpacked < 100_000_000
    assert look_through(png_with(png_chunk(b"tEXt", b"k\0" + bytes(9000)), 2)).unpacked == 0


def test_what_is_slow_or_noisy_to_decode_is_odd() -> None:
    assert look_through(save("TIFF")).odd
    assert look_through(b"II+\0" + bytes(100)).odd
    runs = bytearray(save("BMP"))
    runs[30] = 1
    assert look_through(bytes(runs)).odd
    assert not any(look_through(save(format)).odd for format in ("JPEG", "PNG", "BMP", "WEBP"))


def test_arithmetic_coding_is_named() -> None:
    whole = bytearray(jpeg())
    whole[whole.index(b"\xff\xc0") + 1] = 0xC9
    with pytest.raises(UnreadableImage, match="arithmetic coding"):
        open_image(bytes(whole))


def test_a_damaged_file_of_a_known_format_is_not_called_foreign() -> None:
    for format in ("JPEG", "PNG", "BMP", "TIFF", "WEBP"):
        start = save(format)[:16]
        assert is_known(start)
        with pytest.raises(UnreadableImage) as caught:
            open_image(start + b"nonsense")
        assert caught.value.kind == "damaged"
    assert not is_known(b"RIFF\0\0\0\0WAVEfmt ")
    with pytest.raises(UnreadableImage) as caught:
        open_image(b"a text" + bytes(100))
    assert caught.value.kind == "foreign"


@given(
    start=st.sampled_from([save(format)[:60] for format in ("JPEG", "PNG", "BMP", "TIFF", "WEBP")]),
    cut=st.integers(0, 60),
    rest=st.binary(max_size=200),
)
def test_any_bytes_can_be_looked_through(start: bytes, cut: int, rest: bytes) -> None:
    assert isinstance(look_through(start[:cut] + rest), file_structure.Structure)


@pytest.mark.parametrize(
    "settings",
    [
        {"lossless": True},
        {"quality": 50},
        {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"},
        {"save_all": True, "append_images": [Image.new("RGB", (64, 48))]},
    ],
    ids=["lossless", "lossy", "exif", "animated"],
)
def test_the_size_of_a_webp_is_in_its_first_bytes(settings: dict[str, object]) -> None:
    assert webp_size(save("WEBP", **settings)[:30]) == (64, 48)
    assert webp_size(save("PNG")[:30]) == (0, 0)
    assert webp_size(b"RIFF") == (0, 0)
