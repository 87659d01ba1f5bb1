"""Every image decoded once, into one memory-mapped uint8 array."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from doctor_derma.atomic import replacing_file
from doctor_derma.cpus import usable_cpus
from doctor_derma.data.manifest import Dataset
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import DECODER, UnreadableImage, decode
from doctor_derma.terminal import with_progress

CACHE_FOLDER = "cache"
_DAY = 24 * 60 * 60


def pixel_cache(dataset: Dataset, height: int, width: int) -> np.ndarray:
    """Return the pixels of every image of a data set, in manifest order.

    The first call decodes the images and keeps them under ``data/cache/``; the file's name
    holds the manifest's fingerprint and ``DECODER``, so other data, another size or another way
    to decode is another file.

    Returns
    -------
    read-only memory map of uint8, shape (images, height, width, 3)

    Raises
    ------
    DermaError
        When an image in the manifest can't be read any more, or the disk is full.
    """
    folder = dataset.folder / CACHE_FOLDER
    path = folder / f"{dataset.fingerprint[:16]}-{height}x{width}-{DECODER}.npy"
    if not path.is_file():
        _drop_stale(folder, dataset.fingerprint[:16])
        _build(dataset, path, height, width)
    return np.load(path, mmap_mode="r")


def _build(dataset: Dataset, path: Path, height: int, width: int) -> None:
    files = [dataset.folder / relative for relative in dataset.table["path"]]

    def load(file: Path) -> np.ndarray:
        try:
            return decode(file, height, width).pixels
        except UnreadableImage as error:
            raise DermaError(f"{file}: {error}; import the data again") from error

    header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), height, width, 3)}
    with ThreadPoolExecutor(usable_cpus()) as pool:
        decoded = with_progress(pool.map(load, files), "Decoding images", len(files))
        try:
            # Written, not mapped: on a full disk a mapped file kills the process.
            with replacing_file(path) as scratch, scratch.open("wb") as stream:
                np.lib.format.write_array_header_1_0(stream, header)
                for image in decoded:
                    stream.write(image.tobytes())
        except OSError as error:
            raise DermaError(
                f"{path}: can't be written ({error.strerror or error}); free some space"
            ) from error


def _drop_stale(folder: Path, fingerprint: str) -> None:
    for old in folder.glob("*.npy"):
        # Another process may be writing a hidden one; a day old it is what a kill left.
        being_written = old.name.startswith(".") and time.time() - old.stat().st_mtime < _DAY
        if not being_written and not old.name.startswith(fingerprint):
            old.unlink(missing_ok=True)
