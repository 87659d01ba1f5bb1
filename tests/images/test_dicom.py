"""Photographs in DICOM files, made here value by value; nothing of the patient comes out."""

import contextlib
import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from doctor_derma.client.pictures import encode
from doctor_derma.images.decoding import UnreadableImage, open_image, without_identity
from doctor_derma.images.dicom import load_pydicom
from images.made import corners, save

PHOTOGRAPH = "1.2.840.10008.5.1.4.1.1.77.1.4"
IMPLICIT, EXPLICIT, BIG_ENDIAN = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2"))
JPEG, JPEG_2000, RLE = (f"1.2.840.10008.1.2.{end}" for end in ("4.50", "4.90", "5"))
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
DEFLATED = "1.2.840.10008.1.2.1.99"
RGB = np.asarray(corners(16, 16))


def dicom(
    values: np.ndarray, syntax: str = EXPLICIT, frames: list[bytes] | None = None, **tags: Any
) -> bytes:
    """Return a file of values, or of compressed frames, with a patient's name in it."""
    colour = values.shape[-1] == 3
    bits = 8 * values.itemsize
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(PHOTOGRAPH), UID("1.2.3")
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "4711"
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    plain = values.astype(values.dtype.newbyteorder(">" if syntax == BIG_ENDIAN else "<"))
    dataset.PixelData = encapsulate(frames) if frames else plain.tobytes()
    dataset["PixelData"].VR = "OB" if frames or bits == 8 else "OW"
    for name, value in tags.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def grey(data: bytes) -> np.ndarray:
    pixels = np.asarray(open_image(data)).astype(int)
    assert np.ptp(pixels, axis=2).max() == 0
    return pixels[..., 0]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_plain_colours_are_those_that_were_written(syntax: str, tmp_path: Path) -> None:
    path = tmp_path / "IM000001"
    path.write_bytes(dicom(RGB, syntax))
    for source in (path, path.read_bytes()):
        assert np.array_equal(np.asarray(open_image(source)), RGB)


def test_planes_may_come_one_by_one() -> None:
    planes = np.ascontiguousarray(RGB.transpose(2, 0, 1))
    data = dicom(RGB, PlanarConfiguration=1, PixelData=planes.tobytes())
    assert np.array_equal(np.asarray(open_image(data)), RGB)


def test_luminance_and_chrominance_become_red_green_and_blue() -> None:
    values = np.asarray(corners(16, 16).convert("YCbCr"))
    data = dicom(values, PhotometricInterpretation="YBR_FULL")
    assert np.abs(np.asarray(open_image(data)).astype(int) - RGB).max() <= 2


def test_a_palette_gives_its_colours() -> None:
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    tables = {"Red": [255, 0, 9], "Green": [0, 255, 8], "Blue": [0, 0, 7]}
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, table in tables.items():
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = struct.pack("<3H", *(257 * v for v in table))
    pixels = np.asarray(open_image(dicom(indices, **tags)))
    assert pixels.tolist() == [[[255, 0, 0], [0, 255, 0]], [[9, 8, 7], [0, 255, 0]]]


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("inverted", [False, True])
def test_grey_is_as_bright_as_its_bits_say(bits: int, inverted: bool) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    values = np.linspace(0, 2**bits - 1, 256).astype(kind).reshape(16, 16)
    expected = values / (2**bits - 1) * 255
    data = dicom(
        values,
        BitsStored=bits,
        HighBit=bits - 1,
        PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2",
    )
    assert np.abs(grey(data) - (255 - expected if inverted else expected)).max() <= 0.51


def test_negative_values_are_the_dark_ones() -> None:
    values = np.array([[-2048, 0], [1023, 2047]], np.int16)
    data = dicom(values, BitsStored=12, HighBit=11)
    assert np.abs(grey(data) - [[0, 127.5], [191.3, 255]]).max() <= 1


def test_overlays_in_the_bits_above_are_not_kept() -> None:
    values = np.array([[0, 4095], [2048, 0]], np.uint16)
    drawn = values | np.array([[0x8000, 0x1000], [0, 0x4000]], np.uint16)
    assert np.abs(grey(dicom(drawn, BitsStored=12, HighBit=11)) - [[0, 255], [128, 0]]).max() <= 1


def test_overlays_of_their_own_are_not_kept() -> None:
    data = dicom(GREY)
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.add_new((0x6000, 0x0010), "US", 16)
    dataset.add_new((0x6000, 0x0011), "US", 16)
    dataset.add_new((0x6000, 0x3000), "OW", b"\xff" * 32)
    stream = io.BytesIO()
    dataset.save_as(stream)
    assert np.array_equal(grey(stream.getvalue()), GREY)


def test_modality_and_window_say_how_it_is_shown() -> None:
    values = np.array([[0, 10], [20, 30]], np.uint16)
    # 100 + 2 x is 100 to 160; of the window from 110 to 150 the ends are black and white.
    data = dicom(
        values,
        RescaleIntercept=100,
        RescaleSlope=2,
        WindowCenter=130,
        WindowWidth=40,
        VOILUTFunction="LINEAR_EXACT",
    )
    assert np.abs(grey(data) - [[0, 63.75], [191.25, 255]]).max() <= 1


def test_a_table_says_how_it_is_shown() -> None:
    item = Dataset()
    item.LUTDescriptor = [4, 0, 16]
    item.add_new((0x0028, 0x3006), "OW", struct.pack("<4H", 65535, 0, 32768, 65535))
    data = dicom(np.array([[0, 1], [2, 3]], np.uint16), VOILUTSequence=[item])
    assert np.abs(grey(data) - [[255, 0], [128, 255]]).max() <= 1


@pytest.mark.parametrize(
    ("syntax", "frame", "photometric", "off"),
    [
        (JPEG, save(corners(), "JPEG", quality=95, subsampling=0), "YBR_FULL_422", 12),
        (JPEG, save(corners(), "JPEG", quality=95, keep_rgb=True), "RGB", 12),
        (JPEG_2000, save(corners(), "JPEG2000", no_jp2=True, mct=1), "YBR_RCT", 0),
    ],
    ids=["JPEG", "JPEG of RGB", "JPEG 2000"],
)
def test_compressed_frames(syntax: str, frame: bytes, photometric: str, off: int) -> None:
    white = save(Image.new("RGB", (64, 48), "white"), "JPEG")
    data = dicom(
        np.asarray(corners()),
        syntax,
        frames=[frame, white],
        NumberOfFrames=2,
        PhotometricInterpretation=photometric,
    )
    pixels = np.asarray(open_image(data)).astype(int)
    for (row, column), colour in zip(
        [(10, 14), (10, 50), (38, 14)], [(255, 0, 0), (0, 255, 0), (0, 0, 255)], strict=True
    ):
        assert np.abs(pixels[row, column] - colour).max() <= off


def test_run_lengths() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom(RGB)))
    dataset.compress(UID(RLE))
    stream = io.BytesIO()
    dataset.save_as(stream)
    assert np.array_equal(np.asarray(open_image(stream.getvalue())), RGB)


def test_only_the_first_of_many_frames() -> None:
    both = np.stack([RGB, 255 - RGB])
    data = dicom(RGB, NumberOfFrames=2, PixelData=both.tobytes())
    assert np.array_equal(np.asarray(open_image(data)), RGB)


def test_nothing_of_the_patient_comes_out(tmp_path: Path) -> None:
    data = dicom(RGB)
    assert b"Doe^Jane" in data
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    for sent in (without_identity(data), encode(path), encode(data)):
        assert sent.startswith(b"\x89PNG")
        assert b"Doe" not in sent
        assert Image.open(io.BytesIO(sent)).info == {}
        assert np.array_equal(np.asarray(open_image(sent)), RGB)
    plain = save(corners(), "JPEG")
    assert without_identity(plain) is plain


@pytest.mark.parametrize(
    ("data", "said", "kind"),
    [
        (dicom(RGB, Rows=65_535, Columns=65_535), "more than 50,000,000 pixels", "large"),
        (
            dicom(RGB, JPEG, frames=[save(corners(4000, 3000), "JPEG")]),
            "4000x3000 pixels in",
            "damaged",
        ),
        (dicom(RGB, JPEG, frames=[save(corners(), "JPEG")[:60]]), "corrupt", "damaged"),
        (dicom(RGB, NumberOfFrames=2**31 - 1), "corrupt or truncated", "damaged"),
        (dicom(RGB)[:-300], "corrupt or truncated", "damaged"),
        (dicom(RGB)[:180], "corrupt or truncated", "damaged"),
        (dicom(RGB, SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.2")), "CT Image", "unsupported"),
        (bytes(128) + b"DICM" + bytes(99), "corrupt or truncated", "damaged"),
    ],
    ids=["large", "frame", "cut frame", "frames", "cut", "head", "tomogram", "nothing"],
)
def test_what_is_refused_says_why(data: bytes, said: str, kind: str) -> None:
    with pytest.raises(UnreadableImage, match=said) as caught:
        open_image(data)
    assert caught.value.kind == kind


def test_a_deflated_file_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(np.zeros((2000, 2000, 3), np.uint8), DEFLATED)
    assert len(data) < 100_000
    monkeypatch.setattr(zlib, "decompress", lambda *args: pytest.fail("it was unpacked"))
    with pytest.raises(UnreadableImage, match=r"Deflated .*: export the picture"):
        open_image(data)


def test_without_pydicom_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(RGB)
    load_pydicom.cache_clear()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableImage, match=r"pip install 'doctor-derma\[dicom\]'") as caught:
        open_image(data)
    assert caught.value.kind == "unsupported"


@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=9),
    keep=st.floats(0.2, 1),
)
def test_damaged_ones_are_pictures_or_unreadable(
    changes: list[tuple[float, int]], keep: float
) -> None:
    # Few of the bytes are pixels, so that most of the damage is to what describes them.
    content = bytearray(dicom(RGB[:4, :4], WindowCenter=9, WindowWidth=9, NumberOfFrames=1))
    for place, value in changes:
        content[132 + int(place * (len(content) - 132))] = value
    with contextlib.suppress(UnreadableImage):
        assert open_image(bytes(content[: int(keep * len(content)) + 1])).mode == "RGB"
