"""The pixel cache equals the decoded pictures, and is written once and whole."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from doctor_derma.data import cache
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import DECODER, fit_pixels, open_image


@pytest.fixture
def dataset(root: Path) -> Dataset:
    return read_dataset(root / "data")


def files(dataset: Dataset) -> list[str]:
    return sorted(path.name for path in (dataset.folder / "cache").iterdir())


def test_pixels_are_those_of_the_pictures_in_manifest_order(dataset: Dataset) -> None:
    pixels = pixel_cache(dataset, 24, 16)
    assert pixels.shape == (70, 24, 16, 3)
    assert pixels.dtype == np.uint8
    for row, path in enumerate(dataset.table["path"]):
        expected = fit_pixels(open_image(dataset.folder / path), 24, 16)
        assert np.array_equal(pixels[row], expected)


def test_it_is_mapped_and_read_only(dataset: Dataset) -> None:
    pixels = pixel_cache(dataset, 8, 8)
    assert isinstance(pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def test_pictures_are_decoded_once_a_size(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pixel_cache(dataset, 8, 8)
    monkeypatch.setattr(cache, "decode", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(pixel_cache(dataset, 8, 8), first)


def test_other_data_replace_it_and_other_sizes_stay(dataset: Dataset) -> None:
    pixel_cache(dataset, 8, 8)
    pixel_cache(dataset, 16, 16)
    mark = dataset.fingerprint[:16]
    assert files(dataset) == [f"{mark}-16x16-{DECODER}.npy", f"{mark}-8x8-{DECODER}.npy"]
    manifest = dataset.folder / "manifest.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    changed = read_dataset(dataset.folder)
    pixels = pixel_cache(changed, 8, 8)
    assert files(dataset) == [f"{changed.fingerprint[:16]}-8x8-{DECODER}.npy"]
    last = fit_pixels(open_image(dataset.folder / dataset.table["path"].iloc[-1]), 8, 8)
    assert np.array_equal(pixels[0], last)


def test_a_picture_that_became_unreadable_is_named(dataset: Dataset) -> None:
    damaged = dataset.folder / dataset.table["path"][5]
    damaged.write_bytes(b"not a picture any more")
    with pytest.raises(DermaError, match=f"{damaged.name}: not a picture .*; import the data"):
        pixel_cache(dataset, 8, 8)
    assert files(dataset) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stream, header: dict) -> None:  # type: ignore[no-untyped-def]
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(
        DermaError, match=r"8x8-\d\.npy: can't be written \(No space left .*free some"
    ):
        pixel_cache(dataset, 8, 8)
    assert files(dataset) == []


def test_two_runs_that_start_at_once_do_not_break_each_other(dataset: Dataset) -> None:
    with ThreadPoolExecutor(4) as pool:
        sizes = [8, 8, 12, 16]
        caches = list(pool.map(lambda size: pixel_cache(dataset, size, size), sizes))
    assert [pixels.shape[1] for pixels in caches] == sizes
    assert np.array_equal(caches[0], caches[1])


def test_what_another_process_is_writing_stays_and_what_a_kill_left_goes(dataset: Dataset) -> None:
    folder = dataset.folder / "cache"
    folder.mkdir()
    fresh, left = folder / ".other-1.npy", folder / ".other-2.npy"
    for path in (fresh, left):
        path.write_bytes(b"x")
    two_days_ago = time.time() - 2 * 24 * 60 * 60
    os.utime(left, (two_days_ago, two_days_ago))
    pixel_cache(dataset, 8, 8)
    assert fresh.exists()
    assert not left.exists()
