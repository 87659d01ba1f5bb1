"""A picture looks the same to the network whatever its colours are written in."""

import io
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from data.pictures import picture
from doctor_derma.images import colour_profiles
from doctor_derma.images.decoding import open_image
from images.made import save
from images.profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB_PRIMARIES,
    cmyk_profile,
    grey_profile,
    rgb_profile,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def skin(size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Return colours that every profile here can hold."""
    return Image.fromarray((60 + np.asarray(picture(3, size)).astype(int) * 0.5).astype(np.uint8))


def written_in(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    """Return the picture with the same look in the colours of a profile."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    written = ImageCms.profileToProfile(
        image, SRGB, target, ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode=mode
    )
    assert written is not None
    return written


def difference(first: Image.Image, second: Image.Image) -> int:
    assert first.mode == second.mode == "RGB"
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second)).max())


@pytest.mark.parametrize("profile", [DISPLAY_P3, ADOBE_RGB], ids=["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_colours_are_those_of_the_profile(profile: bytes, form: str, tmp_path: Path) -> None:
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    written = written_in(skin(), profile, "RGB")
    assert difference(written, skin()) > 10
    path = tmp_path / "picture"
    path.write_bytes(save(written, form, icc_profile=profile, **lossless.get(form, {})))
    for source in (path, path.read_bytes(), Image.open(path)):
        found = open_image(source)
        assert difference(found, skin()) <= (6 if form == "JPEG" else 2)
        # Decoded once more, nothing is converted once more.
        assert difference(open_image(found), found) == 0
        assert difference(open_image(save(found)), found) == 0


def test_the_picture_of_a_caller_stays_as_it_is() -> None:
    written = written_in(skin(), DISPLAY_P3, "RGB")
    written.info["icc_profile"] = DISPLAY_P3
    before = written.tobytes()
    assert difference(open_image(written), skin()) <= 2
    assert written.tobytes() == before
    assert written.info["icc_profile"] == DISPLAY_P3


def test_grey_and_cmyk_have_profiles_too() -> None:
    light = np.linspace(0.02, 1, 60)[None, :].repeat(4, axis=0)
    grey = Image.fromarray((255 * light ** (1 / 1.8)).round().astype(np.uint8))
    found = np.asarray(open_image(save(grey, icc_profile=grey_profile(1.8)))).astype(int)
    srgb = 255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    assert np.abs(found - srgb[:, :, None]).max() <= 3
    assert np.abs(found - np.asarray(grey)[:, :, None]).max() > 10

    # A grey picture often keeps the profile of the colours that it had.
    linear = rgb_profile(SRGB_PRIMARIES, gamma=1.0)
    found = np.asarray(open_image(save(grey, icc_profile=linear))).astype(int)
    assert np.abs(found[..., 0] - found[..., 1]).max() <= 1
    assert (found[:, :, 0] - np.asarray(grey)).max() > 40

    inks = Image.new("CMYK", (8, 6), (0, 255, 255, 0))
    plain = np.asarray(open_image(save(inks, "TIFF")))[0, 0].astype(int)
    for form in ("TIFF", "JPEG"):
        profiled = open_image(save(inks, form, icc_profile=cmyk_profile((0.2, 0.3, 0.3))))
        red, green, blue = np.asarray(profiled)[0, 0].astype(int)
        # Inks that leave 30% of the light are no pure red.
        assert list(plain) == [255, 0, 0]
        assert red > 240
        assert abs(green - 149) < 12
        assert abs(blue - 149) < 12


def test_what_is_transparent_is_white_with_a_profile_too() -> None:
    layer = written_in(skin(), DISPLAY_P3, "RGB").convert("RGBA")
    layer.paste((0, 0, 0, 0), (0, 0, 20, 72))
    found = open_image(save(layer, icc_profile=DISPLAY_P3))
    assert set(np.asarray(found)[:, :20].flatten()) == {255}
    box = (20, 0, 96, 72)
    assert difference(found.crop(box), skin().crop(box)) <= 2


def test_a_palette_has_the_colours_of_its_profile() -> None:
    few = skin().quantize(16)
    written = few.copy()
    palette = Image.fromarray(np.array(few.getpalette(), np.uint8).reshape(1, -1, 3))
    written.putpalette(written_in(palette, ADOBE_RGB, "RGB").tobytes())
    assert difference(open_image(save(written, icc_profile=ADOBE_RGB)), few.convert("RGB")) <= 2


def test_sixteen_bits_turned_and_transparent_at_once() -> None:
    """Depth, orientation and profile don't get in each other's way."""
    grey = Image.fromarray(np.tile(np.linspace(0, 65535, 50).astype(np.uint16), (20, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = open_image(save(grey, exif=exif, icc_profile=grey_profile(1.0)))
    assert found.size == (20, 50)
    assert np.asarray(found)[25, 10, 0] > 180


@pytest.mark.parametrize("name", ["sRGB", "sRGB, older"])
def test_srgb_in_any_writing_changes_nothing(name: str) -> None:
    profile = SRGB.tobytes()
    if name == "sRGB, older":
        # Other curves are a step or two from each other.
        profile = _sampled_srgb()
    content = save(skin(), "JPEG", icc_profile=profile, quality=90)
    assert difference(open_image(content), Image.open(io.BytesIO(content)).convert("RGB")) == 0
    assert colour_profiles.conversion_to_srgb(profile) is None


def _sampled_srgb() -> bytes:
    """Return sRGB with its curve as a table, as profiles of the nineties have it."""
    values = np.linspace(0, 1, 1024)
    curve = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    table = b"curv" + bytes(4) + (1024).to_bytes(4) + (curve * 65535).astype(">u2").tobytes()
    plain = rgb_profile(SRGB_PRIMARIES)
    count = int.from_bytes(plain[128:132])
    tags = bytearray(plain[: 132 + 12 * count])
    for entry in range(132, 132 + 12 * count, 12):
        if tags[entry + 1 : entry + 4] == b"TRC":
            tags[entry + 4 : entry + 12] = len(plain).to_bytes(4) + len(table).to_bytes(4)
    whole = bytes(tags) + plain[len(tags) :] + table
    return len(whole).to_bytes(4) + whole[4:]


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"x",
        b"not a profile at all" * 20,
        DISPLAY_P3[:200],
        DISPLAY_P3[:-60],
        DISPLAY_P3[:36] + b"nope" + DISPLAY_P3[40:],
        DISPLAY_P3[:16] + b"Luv " + DISPLAY_P3[20:],
        cmyk_profile(),
        grey_profile(1.0),
        DISPLAY_P3 + bytes(colour_profiles.MAX_PROFILE_BYTES),
    ],
    ids=["empty", "x", "text", "cut", "end cut", "magic", "space", "cmyk", "grey", "huge"],
)
def test_a_profile_that_is_none_is_as_if_it_were_not_there(profile: bytes) -> None:
    content = save(skin(), "TIFF", icc_profile=profile)
    assert difference(open_image(content), skin()) == 0


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    of=st.sampled_from(["RGB", "CMYK", "L"]),
)
def test_a_damaged_profile_never_stops_a_picture(changes: list[tuple[float, int]], of: str) -> None:
    profiles = {"RGB": DISPLAY_P3, "CMYK": cmyk_profile(), "L": grey_profile(2.0)}
    profile = bytearray(profiles[of])
    for place, value in changes:
        profile[int(place * len(profile))] = value
    found = open_image(save(Image.new(of, (3, 2), 90), "TIFF", icc_profile=bytes(profile)))
    assert (found.mode, found.size) == ("RGB", (3, 2))


def test_a_profile_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def note(profile: io.BytesIO) -> ImageCms.ImageCmsProfile:
        opened.append(profile.getvalue())
        return ImageCms.ImageCmsProfile(profile)

    noting = SimpleNamespace(**{**vars(ImageCms), "ImageCmsProfile": note})
    monkeypatch.setattr(colour_profiles, "ImageCms", noting)
    # Profiles of no other test.
    whole, broken = rgb_profile(SRGB_PRIMARIES, 1.37), b"broken once"
    pictures = [save(skin(), icc_profile=profile) for profile in (whole, broken)]
    for content in pictures * 3:
        open_image(content)
    assert opened == [whole, broken]
    # Any number of profiles may come; those that came first are forgotten.
    for number in range(100):
        colour_profiles.conversion_to_srgb(b"broken %d" % number)
    open_image(pictures[0])
    assert opened.count(whole) == 2


def test_threads_share_a_conversion() -> None:
    content = save(picture(1, (300, 200)), icc_profile=ADOBE_RGB)
    expected = open_image(content).tobytes()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: open_image(content).tobytes(), range(64)))
    assert set(found) == {expected}


@pytest.mark.slow
def test_a_large_jpeg_is_decoded_smaller_with_a_profile_too() -> None:
    written = written_in(skin((4096, 3072)), DISPLAY_P3, "RGB")
    found = open_image(save(written, "JPEG", icc_profile=DISPLAY_P3, quality=95))
    assert found.size == (1366, 1024) or found.size == (2048, 1536)
    assert difference(found.resize((96, 72)), skin((4096, 3072)).resize((96, 72))) <= 4


@pytest.mark.parametrize("megabytes", [2, 12])
def test_a_png_with_much_beside_its_pixels(megabytes: int) -> None:
    """Editors keep the history of a picture in its XMP, and some profiles are large tables."""
    from PIL.PngImagePlugin import PngInfo

    chance = random.Random(0)
    text = "".join(chance.choices("abcdefghij", k=1000)) * (1000 * megabytes)
    history = PngInfo()
    history.add_itxt("XML:com.adobe.xmp", text, zip=True)
    history.add_text("comment", text, zip=True)
    assert difference(open_image(save(skin(), pnginfo=history)), skin()) == 0

    size = min(1_000_000 * megabytes, colour_profiles.MAX_PROFILE_BYTES)
    padded = (size.to_bytes(4) + DISPLAY_P3[4:]).ljust(size, b"\0")
    written = written_in(skin(), DISPLAY_P3, "RGB")
    assert difference(open_image(save(written, icc_profile=padded)), skin()) <= 2


def test_pictures_without_a_profile_are_what_they_were() -> None:
    """Models were trained on these very pixels."""
    for seed, options in enumerate(
        ({"quality": 90}, {"quality": 75, "progressive": True}, {"quality": 95, "subsampling": 0})
    ):
        for size in ((200, 150), (601, 449), (2300, 2100)):
            content = save(picture(seed, size), "JPEG", **options)
            plain = Image.open(io.BytesIO(content))
            plain.draft(None, (1024, 1024))
            assert difference(open_image(content), plain.convert("RGB")) == 0
