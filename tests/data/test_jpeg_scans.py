"""Scans are counted as a decoder meets them, and too many are refused."""

import io

import pytest
from PIL import Image

from doctor_derma.data.decoding import MAX_SCANS, UnreadableImage, open_image
from doctor_derma.data.jpeg_scans import count_scans


def jpeg(**settings: object) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 48), 90).convert("RGB").save(stream, "JPEG", **settings)
    return stream.getvalue()


def test_a_baseline_picture_has_one_and_a_progressive_one_has_ten() -> None:
    assert count_scans(jpeg()) == 1
    # The script of libjpeg's jpeg_simple_progression for three components.
    assert count_scans(jpeg(progressive=True)) == 10


def test_what_is_not_a_scan_is_not_counted() -> None:
    marker = b"\xff\xda"
    assert count_scans(jpeg(comment=marker * 1000)) == 1
    assert count_scans(jpeg(exif=b"Exif\0\0" + marker * 1000)) == 1
    assert count_scans(jpeg(restart_marker_blocks=1)) == 1
    # Phones put a film behind their pictures.
    assert count_scans(jpeg() + marker * 1000) == 1
    assert count_scans(b"\x89PNG" + marker * 1000) == 0


@pytest.mark.parametrize("damaged", [b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xda"])
def test_a_cut_off_header_is_no_error(damaged: bytes) -> None:
    assert count_scans(damaged) in (0, 1)


def test_too_many_scans_are_refused() -> None:
    whole = jpeg(progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    kept = whole[:-2] + last * (MAX_SCANS - 10) + b"\xff\xd9"
    assert open_image(kept).size == (64, 48)
    with pytest.raises(UnreadableImage, match="a JPEG of 51 scans: more than 50, save it anew"):
        open_image(kept[:-2] + last + b"\xff\xd9")
