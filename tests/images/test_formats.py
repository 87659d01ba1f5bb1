"""One list of formats: each decodes to the picture that was saved, and others say what to do."""

import contextlib
import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from doctor_derma.images import decoding
from doctor_derma.images.containers import MAX_BLOCKS, MAX_BOXES, MAX_PRECINCTS, MAX_TILES
from doctor_derma.images.decoding import UnreadableImage, open_image
from doctor_derma.images.file_structure import Structure, look_through
from doctor_derma.images.formats import ACCEPT, ADVICE, FORMATS, IMAGE_SUFFIXES, NAMES, kind_of
from images.made import corners, heic, jpeg_2000_head, save, tiff_of_tags, with_size
from images.profiles import SRGB_PRIMARIES, rgb_profile

ROOT = Path(__file__).parents[2]


def black() -> Image.Image:
    return Image.new("RGB", (64, 48))


# What it is, the file, and by how much a colour may be off.
FILES = {
    "GIF": ("GIF", save(corners().quantize(4), "GIF"), 0),
    "GIF of frames": (
        *("GIF", save(corners().quantize(4), "GIF", save_all=True, append_images=[black()])),
        0,
    ),
    "HEIC": ("HEIC", heic(corners()), 3),
    "AVIF": ("AVIF", save(corners(), "AVIF", quality=100, subsampling="4:4:4"), 3),
    "AVIF of frames": (
        *("AVIF", save(corners(), "AVIF", quality=100, save_all=True, append_images=[black()])),
        40,
    ),
    "JP2": ("JPEG 2000", save(corners(), "JPEG2000"), 0),
    "J2K": ("JPEG 2000", save(corners(), "JPEG2000", no_jp2=True), 0),
    "J2K in tiles": ("JPEG 2000", save(corners(), "JPEG2000", tile_size=(20, 20)), 0),
    "MPO": ("JPEG", save(corners(), "MPO", save_all=True, append_images=[black()], quality=95), 30),
    "TIFF of pages": ("TIFF", save(corners(), "TIFF", save_all=True, append_images=[black()]), 0),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("as_file", [True, False], ids=["file", "bytes"])
def test_the_first_picture_is_the_one_that_was_saved(
    name: str, as_file: bool, tmp_path: Path
) -> None:
    kind, data, off = FILES[name]
    assert kind_of(data[:512]) == kind
    # The bytes decide, not the name.
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    found = open_image(path if as_file else data)
    assert found.mode == "RGB"
    pixels = np.asarray(found).astype(int)
    assert pixels.shape == (48, 64, 3)
    inside = [pixels[row, column] for row in (10, 38) for column in (14, 50)]
    expected = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    assert np.abs(np.array(inside) - expected).max() <= off


def test_transparency_turns_white() -> None:
    picture = corners().convert("RGBA")
    picture.putalpha(Image.new("L", picture.size))
    clear = corners().quantize(4)
    for data in (
        heic(picture),
        save(picture, "AVIF", quality=100),
        save(picture, "JPEG2000"),
        save(clear, "GIF", transparency=clear.getpixel((10, 10))),
    ):
        pixels = np.asarray(open_image(data)).astype(int)
        assert (255 - pixels[10, 14]).max() <= 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("write", [heic, lambda picture, **kept: save(picture, "AVIF", **kept)])
def test_telephones_turn_pictures_in_the_container(orientation: int, write) -> None:
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    stored = corners().transpose(turns.get(orientation, Image.Transpose.ROTATE_270))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = open_image(write(stored, exif=exif.tobytes()))
    assert found.size == (64, 48)
    assert np.abs(np.asarray(found).astype(int)[10, 14] - [255, 0, 0]).max() < 40


def test_ten_bits_are_eight() -> None:
    import pillow_heif

    values = np.zeros((32, 32, 3), np.uint16)
    values[..., 0], values[..., 1] = 65535, 32768
    stream = io.BytesIO()
    pillow_heif.encode("RGB;16", (32, 32), values.tobytes(), stream, quality=-1, chroma=444)
    assert np.abs(np.asarray(open_image(stream.getvalue()))[9, 9] - [255.0, 128, 0]).max() <= 2


@pytest.mark.parametrize("write", [heic, lambda grey, **kept: save(grey, "AVIF", **kept)])
def test_a_profile_counts(write) -> None:
    # In sRGB a grey of 128 with a gamma of 1 is far brighter.
    profile = rgb_profile(SRGB_PRIMARIES, gamma=1.0)
    grey = Image.new("RGB", (32, 32), (128, 128, 128))
    found = open_image(write(grey, icc_profile=profile)).getpixel((9, 9))
    assert np.abs(np.array(found) - 188).max() <= 2


def test_large_ones_are_made_smaller_and_look_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LARGE_BYTES", 1)
    picture = corners(128, 96)
    for data, off in ((heic(picture), 3), (save(picture, "JPEG2000"), 0)):
        found = open_image(data, least_side=24)
        assert min(found.size) in range(24, 48)
        assert np.abs(np.asarray(found).astype(int)[2, 2] - [255, 0, 0]).max() <= off
        assert open_image(data, least_side=None).size == (128, 96)
    # One that was saved without levels can't be halved.
    single = save(picture, "JPEG2000", num_resolutions=1)
    assert open_image(single, least_side=24).size == (128, 96)


REFUSED = {
    "CR2": (b"II*\0\x10\0\0\0CR\2\0", "a RAW photograph: export it as JPEG"),
    "DNG": (tiff_of_tags((50706, 1, 4, 0x0401)), "a RAW photograph: export it as JPEG"),
    "NEF and ARW": (
        tiff_of_tags((254, 4, 1, 1), (262, 3, 1, 2), (330, 4, 1, 50), below=(32803,)),
        "a RAW photograph: export it as JPEG",
    ),
    "CR3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a RAW photograph: export it as JPEG"),
    "RAF": (b"FUJIFILMCCD-RAW ", "a RAW photograph: export it as JPEG"),
    "RW2": (b"IIU\0\x08\0\0\0", "a RAW photograph: export it as JPEG"),
    "ORF": (b"IIRO\x08\0\0\0", "a RAW photograph: export it as JPEG"),
    "MP4": (b"\0\0\0\x18ftypisom\0\0\0\1isommp42", "a video: save one picture of it as JPEG"),
    "MOV": (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video: save one picture of it as JPEG"),
    "WebM": (b"\x1aE\xdf\xa3", "a video: save one picture of it as JPEG"),
    "PDF": (b"%PDF-1.7\n", "PDF: export the picture in it as JPEG or PNG"),
    "SVG": (b'<?xml version="1.0"?>\n<SVG xmlns="">', "SVG: export it as PNG"),
    "PSD": (b"8BPS\0\1", "a file of Photoshop: export it as JPEG or PNG"),
    "JXL": (b"\xff\x0a\0\0", "JPEG XL: save it as JPEG or PNG"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript: export it as PNG"),
    "page": (b"\n<!DOCTYPE html>", "a web page: save the picture itself"),
    "zip": (b"PK\3\4", "a zip archive or office file: unpack it"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1", "run 'git lfs pull'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_says_what_to_do_with_it(name: str, tmp_path: Path) -> None:
    data, said = REFUSED[name]
    path = tmp_path / "picture.jpg"
    path.write_bytes(data + bytes(300))
    for source in (path, path.read_bytes()):
        with pytest.raises(UnreadableImage, match=re.escape(said)) as caught:
            open_image(source)
        assert caught.value.kind == "unsupported"


def test_a_tiff_of_a_camera_without_a_sensor_s_values_is_a_picture() -> None:
    scan = save(corners(), "TIFF", tiffinfo={271: "NIKON", 254: 0})
    assert open_image(scan).size == (64, 48)


def test_the_page_offers_the_same_list() -> None:
    page = (ROOT / "code/doctor_derma/server/static/index.html").read_text()
    assert f'accept="{ACCEPT}"' in page
    assert NAMES in " ".join(page.split())
    assert NAMES in " ".join((ROOT / "docs/data.md").read_text().split())


def test_every_suffix_is_in_one_format_only() -> None:
    assert len(IMAGE_SUFFIXES) == sum(len(each.suffixes) for each in FORMATS)
    assert not {each.name for each in FORMATS} & set(ADVICE)


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (heic(corners(64, 64)), 64 * 64),
        (with_size(heic(corners()), 30_000, 20_000), 600_000_000),
        (with_size(save(corners(), "AVIF"), 9_000, 9_000), 81_000_000),
        (jpeg_2000_head(60_000, 50_000, 60_000), 3_000_000_000),
        (save(corners(), "JPEG2000"), 64 * 48),
        (b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0), 65_535**2),
    ],
    ids=["HEIC", "large HEIC", "large AVIF", "large J2K", "JP2", "large GIF"],
)
def test_the_size_is_known_before_anything_is_decoded(data: bytes, pixels: int) -> None:
    structure = look_through(data)
    assert (structure.eager, structure.odd, structure.pixels) == (True, True, pixels)
    if pixels > decoding.MAX_PIXELS:
        with pytest.raises(UnreadableImage, match="pixels, scale it down") as caught:
            open_image(data)
        assert caught.value.kind == "large"


def test_a_frame_that_is_larger_than_its_gif_counts() -> None:
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 20_000, 20_000, 0)
    data = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + frame
    assert look_through(data).pixels == 20_000**2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (jpeg_2000_head(7_000, 7_000, 64), f"more than {MAX_TILES:,} tiles"),
        (jpeg_2000_head(7_000, 7_000, 7_000, precinct=1), f"more than {MAX_PRECINCTS:,} parts"),
        (
            b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + b"\x21\xfe" + b"\1a" * 90_000,
            f"more than {MAX_BLOCKS:,} blocks",
        ),
        (
            b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + b"\x21\xfe\0" * 90_000,
            f"more than {MAX_BLOCKS:,} blocks",
        ),
        (heic(corners())[:28] + b"\0\0\0\x08free" * 6_000, f"more than {MAX_BOXES:,} parts"),
    ],
    ids=["tiles", "precincts", "blocks", "empty blocks", "boxes"],
)
def test_very_many_parts_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableImage, match=said):
        open_image(data)


@settings(max_examples=2 * settings.default.max_examples)
@given(
    start=st.sampled_from([data[:400] for _, data, _ in FILES.values()]),
    cut=st.integers(0, 400),
    rest=st.binary(max_size=200),
)
def test_any_beginning_can_be_looked_through(start: bytes, cut: int, rest: bytes) -> None:
    assert isinstance(look_through(start[:cut] + rest), Structure)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=2 * settings.default.max_examples)
@given(
    name=st.sampled_from(sorted(FILES)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    keep=st.floats(0, 1),
)
def test_damaged_ones_are_pictures_or_unreadable(
    name: str, changes: list[tuple[float, int]], keep: float
) -> None:
    content = bytearray(FILES[name][1])
    for place, value in changes:
        content[int(place * len(content))] = value
    with contextlib.suppress(UnreadableImage):
        assert open_image(bytes(content[: int(keep * len(content)) + 1])).mode == "RGB"
