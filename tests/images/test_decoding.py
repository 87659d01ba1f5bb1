"""Every way a picture may come, to upright RGB, or to the reason why it can't."""

import contextlib
import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin

from doctor_derma.images import decoding
from doctor_derma.images.decoding import UnreadableImage, fit_pixels, open_image
from images import made
from images.made import png_chunk, save

ORIENTATION = 0x0112


def corners(width: int = 24, height: int = 16) -> Image.Image:
    """Return a picture that is red, green, blue and white in its four quarters."""
    return made.corners(width, height)


# How a camera that was turned stores the picture, by EXIF orientation (CIPA DC-008, 4.6.4).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
def test_pictures_stand_upright(orientation: int) -> None:
    method = STORED[orientation]
    stored = corners() if method is None else corners().transpose(method)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    found = open_image(save(stored, "PNG", exif=exif))
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.asarray(corners()))
    assert found.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_every_format_and_source(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{form.lower()}"
    path.write_bytes(save(corners(), form))
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        found = np.asarray(open_image(source)).astype(int)
        assert found.shape == (16, 24, 3)
        assert np.abs(found[4, 6] - [255, 0, 0]).max() < 20


def test_arrays_are_taken_as_they_are() -> None:
    pixels = np.asarray(corners())
    assert np.array_equal(np.asarray(open_image(pixels)), pixels)


@pytest.mark.parametrize("value", [0, 128, 65535])
def test_16_bits_keep_their_brightness(value: int) -> None:
    values = np.full((4, 5), value, dtype=np.uint16)
    values[0] = 65535
    for form in ("PNG", "TIFF"):
        found = np.asarray(open_image(save(Image.fromarray(values), form)))
        assert found.shape == (4, 5, 3)
        assert set(found[1:].flatten()) == {value // 257}


def test_grey_is_the_same_in_every_channel() -> None:
    grey = corners().convert("L")
    found = np.asarray(open_image(save(grey)))
    assert np.array_equal(found, np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))
    assert set(np.asarray(open_image(save(grey.convert("1")))).flatten()) <= {0, 255}


def test_palettes_give_their_colours() -> None:
    assert np.array_equal(
        np.asarray(open_image(save(corners().convert("P", palette=Image.Palette.ADAPTIVE)))),
        np.asarray(corners()),
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_turns_white(mode: str) -> None:
    picture = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 3, 4))
    if mode == "P":
        stored = Image.new("P", (6, 4), 1)
        stored.putpalette([0, 0, 0, 10, 20, 30])
        stored.paste(0, (0, 0, 3, 4))
        found = open_image(save(stored, transparency=1))
    elif mode == "PA":
        found = open_image(picture.convert("PA"))
    else:
        found = open_image(save(picture.convert(mode)))
    pixels = np.asarray(found)
    assert set(pixels[:, :3].flatten()) == {0}
    assert set(pixels[:, 3:].flatten()) == {255}


def test_cmyk_becomes_rgb() -> None:
    found = np.asarray(open_image(save(corners().convert("CMYK"), "TIFF"))).astype(int)
    assert np.abs(found - np.asarray(corners())).max() <= 2
    lossy = np.asarray(open_image(save(corners().convert("CMYK"), "JPEG"))).astype(int)
    assert np.abs(lossy[4, 6] - [255, 0, 0]).max() < 12


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"just text, no picture", "not a picture that can be read"),
        (save(corners(), "GIF")[:20], "corrupt or truncated picture"),
        (save(corners(), "JPEG")[:200], "(corrupt or truncated|not a picture)"),
        (save(corners(96, 96), "PNG")[:120], "corrupt or truncated picture"),
    ],
    ids=["empty", "text", "cut gif", "cut jpeg", "cut png"],
)
def test_what_can_not_be_decoded_says_why(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(UnreadableImage, match=message):
            open_image(source)


def test_a_cut_jpeg_is_not_half_a_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = save(Image.fromarray(pixels), "JPEG")
    with pytest.raises(UnreadableImage, match=r"corrupt or truncated picture \(.*truncated"):
        open_image(whole[: len(whole) * 2 // 3])


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="no such file"):
        open_image(tmp_path / "nowhere.jpg")
    with pytest.raises(UnreadableImage, match="a folder, not a picture"):
        open_image(tmp_path)
    with pytest.raises(UnreadableImage, match="corrupt or truncated"):
        open_image("a\0b.jpg")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1600, 1200), (1600, 1200)),
        ((4608, 3456), (2304, 1728)),
        ((2048, 2048), (1024, 1024)),
        ((3000, 400), (3000, 400)),
    ],
)
def test_a_large_jpeg_is_decoded_smaller_with_enough_left(
    size: tuple[int, int], expected: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    corners(*size).save(path, quality=92)
    found = open_image(path)
    assert found.size == expected
    shrunk = fit_pixels(found, 64, 64).astype(int)
    whole = fit_pixels(open_image(path, least_side=None), 64, 64).astype(int)
    assert open_image(path, least_side=None).size == size
    assert np.abs(shrunk - whole).mean() < 2


@pytest.mark.parametrize(
    ("network", "size", "expected"),
    [
        ((144, 192), (4608, 3456), (1152, 864)),  # 864 is the next above 3 x 192, 432 under it.
        ((144, 192), (3456, 4608), (864, 1152)),
        ((144, 192), (1200, 900), (1200, 900)),
        ((32, 64), (1200, 900), (300, 225)),
        ((512, 512), (4608, 3456), (2304, 1728)),
    ],
)
def test_a_large_jpeg_keeps_three_times_what_a_network_takes(
    network: tuple[int, int], size: tuple[int, int], expected: tuple[int, int]
) -> None:
    data = save(corners(*size), "JPEG", quality=92)
    found = decoding.decode(data, *network)
    assert found.size == expected
    assert found.pixels.shape == (*network, 3)
    whole = fit_pixels(open_image(data, least_side=None), *network).astype(int)
    assert np.abs(found.pixels - whole).mean() < 1


def test_a_shrunk_jpeg_is_still_turned_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    corners(2048, 2304).save(path, exif=exif, quality=92)
    found = open_image(path)
    assert found.size == (1152, 1024)
    assert found.getexif().get(ORIENTATION, 1) == 1


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = save(corners())
    monkeypatch.setattr(decoding, "MAX_PIXELS", 24 * 16 - 1)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(UnreadableImage, match="24x16 pixels: more than 383, scale it down"):
        open_image(content)


def test_a_picture_that_pillow_itself_takes_for_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="more than 50,000,000 pixels, scale it down"):
        open_image(save(corners()))


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UnreadableImage, match="pass uint8 RGB of shape"):
        open_image(array)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(UnreadableImage, match="no permission to read it"):
        open_image(tmp_path / "secret.jpg")


def with_exif(form: str, block: bytes) -> bytes:
    """Return a picture whose EXIF block has these very bytes; JFIF is a JPEG with a resolution."""
    picture = corners()
    if form == "PNG":
        whole = save(picture, "PNG")
        end = whole.index(b"IDAT") - 4
        return whole[:end] + png_chunk(b"eXIf", block) + whole[end:]
    options = {"dpi": (72, 72)} if form == "JFIF" else {"lossless": form == "WEBP"}
    kind = "JPEG" if form == "JFIF" else form
    return save(picture, kind, exif=b"Exif\0\0" + block, quality=100, **options)


def orientation_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x0132] = "2020:01:01 00:00:00"
    # Pillow looks for the resolution of a JPEG while it opens it.
    exif[0x011A] = 72.5
    exif[0x0128] = 3
    return exif.tobytes()[6:]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["JPEG", "JFIF", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block",
    [
        bytes(64),
        b"II*\0",
        b"MM\0*\0\0\0\x08\xff\xff",
        repr(orientation_block(6)).encode(),
        orientation_block(6)[:9],
        b"II*\0\xff\xff\xff\x7f",
        orientation_block(77),
    ],
    ids=["zeroed", "empty", "many", "printed", "cut", "far", "no such orientation"],
)
def test_exif_that_can_not_be_read_means_upright(form: str, block: bytes) -> None:
    plain = with_exif(form, b"")
    found = open_image(with_exif(form, block))
    assert np.array_equal(np.asarray(found), np.asarray(open_image(plain)))


def test_exif_as_text_of_a_png_that_can_not_be_read() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n      12\nnot hexadecimal")
    found = open_image(save(corners(), "PNG", pnginfo=info))
    assert np.array_equal(np.asarray(found), np.asarray(corners()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["JPEG", "JFIF", "PNG", "WEBP"])
def test_a_picture_is_turned_though_other_tags_are_damaged(form: str) -> None:
    block = bytearray(orientation_block(6))
    # The type of the date becomes one of no known size, and its text lies nowhere.
    date = block.index(b"\x01\x32")
    for damage in ((date + 3, 0), (date + 8, 0x7F)):
        block[damage[0]] = damage[1]
        found = open_image(with_exif(form, bytes(block)))
        assert found.size == (16, 24)
        assert "exif" not in found.info


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=3 * settings.default.max_examples)
@given(
    form=st.sampled_from(["JPEG", "JFIF", "PNG", "WEBP"]),
    orientation=st.integers(1, 8),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    keep=st.floats(0.05, 1),
    noise=st.binary(max_size=60),
)
# The first tag becomes a resolution of another type, which Pillow gives a whole JPEG up for.
@example(form="JPEG", orientation=1, changes=[(0.28125, 1)], keep=1.0, noise=b"")
def test_no_exif_makes_a_picture_unreadable(
    form: str, orientation: int, changes: list[tuple[float, int]], keep: float, noise: bytes
) -> None:
    block = bytearray(orientation_block(orientation))
    for place, value in changes:
        block[int(place * len(block))] = value
    for damaged in (bytes(block[: int(keep * len(block))]), noise):
        found = open_image(with_exif(form, damaged))
        assert {found.width, found.height} == {24, 16}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=2 * settings.default.max_examples)
@given(
    form=st.sampled_from(["JPEG", "PNG", "BMP", "TIFF", "WEBP"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    keep=st.floats(0, 1),
)
def test_damaged_files_are_pictures_or_unreadable(
    form: str, changes: list[tuple[float, int]], keep: float
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = bytearray(save(corners(), form, **({} if form == "BMP" else {"exif": exif})))
    for place, value in changes:
        content[int(place * len(content))] = value
    with contextlib.suppress(UnreadableImage):
        found = open_image(bytes(content[: int(keep * len(content)) + 1]))
        assert found.mode == "RGB"


@settings(max_examples=30, deadline=None)
@given(size=st.tuples(st.integers(1, 90), st.integers(1, 90)), side=st.integers(1, 64))
def test_fitting_keeps_relative_positions(size: tuple[int, int], side: int) -> None:
    found = fit_pixels(corners(2 * size[0], 2 * size[1]), 2 * side, 2 * side)
    assert found.shape == (2 * side, 2 * side, 3)
    assert found.dtype == np.uint8
    for (row, column), colour in zip(
        [(0, 0), (0, -1), (-1, 0), (-1, -1)],
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)],
        strict=True,
    ):
        assert np.abs(found[row, column].astype(int) - colour).max() <= 130
    assert fit_pixels(corners(), 16, 24).tobytes() == np.asarray(corners()).tobytes()


@pytest.mark.parametrize("share", [1, 0.5, 0.4])
@pytest.mark.parametrize("form", ["GIF", "MPO", "PNG", "TIFF", "WEBP"])
def test_decoding_leaves_no_file_open(
    form: str, share: float, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    two_frames = save(corners(), form, save_all=True, append_images=[corners().rotate(180)])
    path = tmp_path / "picture"
    path.write_bytes(two_frames[: int(share * len(two_frames))])
    refused = contextlib.suppress(UnreadableImage) if share < 1 else contextlib.nullcontext()
    with refused:
        open_image(path)
    gc.collect()
    assert [w for w in recwarn.list if issubclass(w.category, ResourceWarning)] == []


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_transparency_that_is_multiplied_in_is_divided_out(mode: str) -> None:
    opaque = {"La": ("LA", (100, 255)), "RGBa": ("RGBA", (100, 100, 100, 255))}
    plain_mode, grey = opaque[mode]
    plain = Image.new(plain_mode, (8, 8), grey)
    assert open_image(plain.convert(mode)).getpixel((3, 3)) == (100, 100, 100)
