"""DICOM files of photographs, from a camera or a dermatoscope: pixels, and nothing of the patient.

Needs pydicom, the extra ``dicom``. Overlays, identity and all else that is no pixel stay behind.

References
----------
.. [1] NEMA PS3.3 (DICOM), C.7.6.3 (pixels), C.11.1 and C.11.2 (modality and VOI transformations).
.. [2] NEMA PS3.5, annex A (transfer syntaxes); PS3.10, section 7 (the head of a file).
"""

import functools
import io
import logging
import struct
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from doctor_derma.images.file_structure import look_through

# Secondary Capture, and pictures in visible light but for slides under a microscope.
_PHOTOGRAPHS = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.77.1")
_SLIDES = "1.2.840.10008.5.1.4.1.1.77.1.6"
_TRANSFER = "1.2.840.10008.1.2"
# Implicit and explicit, in both orders of bytes, and run lengths.
_PLAIN = frozenset((_TRANSFER, f"{_TRANSFER}.1", f"{_TRANSFER}.2", f"{_TRANSFER}.5"))
# JPEG of 8 bits and JPEG 2000, which Pillow decodes.
_COMPRESSED = frozenset(f"{_TRANSFER}.4.{number}" for number in (50, 51, 90, 91))
_LONG = frozenset((b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT"))
_HEAD_BYTES = 10_000
_ANYTHING = 1e9
_COLOURS = ("Red", "Green", "Blue")
# All that is read. What tells of the patient is not among it.
_TAGS: list[Any] = [
    *("SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "ICCProfile"),
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
]


class UnreadableDicom(ValueError):  # noqa: N818
    """A DICOM file that is not read, though it may be whole; the message says what to do."""


def load_dicom(source: Path | bytes, most_pixels: int) -> Image.Image:
    """Decode the first frame, to ``L`` or ``RGB`` with its profile in ``info``.

    Values become 8 bits by the transformations of modality and display that the file states, else
    by the bits that it stores. ``MONOCHROME1``, where the least is white, is inverted.

    Raises an UnreadableDicom when pydicom is missing, the file is of no photograph, or packed in a
    way that isn't read, and a PIL.Image.DecompressionBombError when it has more than
    ``most_pixels``. What pydicom raises for a damaged file has no base class.
    """
    pydicom = load_pydicom()
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        syntax = _transfer_syntax(stream.read(_HEAD_BYTES))
        if syntax not in _PLAIN | _COMPRESSED:
            raise UnreadableDicom(
                f"a DICOM file packed as {pydicom.uid.UID(syntax).name or 'nothing known'}: "
                "export the picture as PNG, or save it uncompressed"
            )
        stream.seek(0)
        dataset = pydicom.dcmread(stream, specific_tags=_TAGS)
    kind = dataset.get("SOPClassUID", _PHOTOGRAPHS[0])
    if not kind.startswith(_PHOTOGRAPHS) or kind == _SLIDES:
        raise UnreadableDicom(
            f"a DICOM file that is no photograph ({kind.name}): send a photograph"
        )
    width, height = int(dataset.Columns), int(dataset.Rows)
    if width * height > most_pixels:
        raise Image.DecompressionBombError(f"{width}x{height}")
    if syntax in _COMPRESSED:
        _check_frame(dataset, (width, height))
    picture = Image.fromarray(_to_8_bits(pydicom.pixels.pixel_array(dataset, index=0), dataset))
    if profile := dataset.get("ICCProfile"):
        picture.info["icc_profile"] = bytes(profile)
    return picture


@functools.cache
def load_pydicom() -> ModuleType:
    """Return pydicom, which remarks on nothing; it is loaded when first needed.

    Raises an UnreadableDicom when it is not installed.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        raise UnreadableDicom(
            "a DICOM file, which needs pydicom: pip install 'doctor-derma[dicom]', or export the "
            "picture as PNG"
        ) from error
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
    return pydicom


def _transfer_syntax(head: bytes) -> str:
    """Return how a file is packed; a deflated one would be unpacked by being opened."""
    at = 132
    while head[at : at + 2] == b"\2\0":
        width = 4 if head[at + 4 : at + 6] in _LONG else 2
        start = at + 4 + 2 * width
        (length,) = struct.unpack_from("<I" if width == 4 else "<H", head, start - width)
        if head[at + 2 : at + 4] == b"\x10\0":
            return head[start : start + length].rstrip(b"\0 ").decode("ascii")
        at = start + length
    raise ValueError("no transfer syntax")


def _check_frame(dataset: Any, size: tuple[int, int]) -> None:
    """Hold the first compressed frame to what the file says of it, before it is decoded."""
    from pydicom.encaps import get_frame

    frames = int(dataset.get("NumberOfFrames") or 1)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=frames)
    if excess := look_through(frame).excess:
        raise ValueError(excess)
    with Image.open(io.BytesIO(frame), formats=("JPEG", "JPEG2000")) as picture:
        if picture.size != size:
            raise ValueError(f"a frame of {picture.width}x{picture.height} pixels in {size}")


def _to_8_bits(values: np.ndarray, dataset: Any) -> np.ndarray:
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = load_pydicom().pixels.apply_color_lut(values, dataset)
        bits = 8 * values.itemsize
    if values.ndim == 3:
        return (values >> max(bits - 8, 0)).astype(np.uint8)
    unsigned = dataset.PixelRepresentation == 0
    if unsigned:
        # Older files keep overlays in the bits that the picture leaves.
        lowest = max(int(dataset.get("HighBit", bits - 1)) + 1 - bits, 0)
        values = values >> lowest & (1 << bits) - 1
    least = 0 if unsigned else -(2 ** (bits - 1))
    shares = _displayed(values, dataset, (least, least + 2**bits - 1))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    return np.clip(shares * 255 + 0.5, 0, 255).astype(np.uint8)


def _displayed(values: np.ndarray, dataset: Any, stored: tuple[int, int]) -> np.ndarray:
    """Return brightness from 0 to 1, as the file wants its values shown."""
    steps = load_pydicom().pixels
    values = steps.apply_modality_lut(values, dataset)
    if dataset.get("VOILUTSequence"):
        most = 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return steps.apply_voi(values, dataset).astype(np.float32) / most
    if "WindowCenter" in dataset and "WindowWidth" in dataset:
        low, high = steps.apply_windowing(np.array([-_ANYTHING, _ANYTHING]), dataset)
        values = steps.apply_windowing(values, dataset)
    else:
        low, high = steps.apply_modality_lut(np.array(stored), dataset).astype(float)
    return (values.astype(np.float32) - low) / max(high - low, 1)
