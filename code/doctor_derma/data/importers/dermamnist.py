"""Reads DermaMNIST, HAM10000 made small, from MedMNIST's ``.npz`` files.

Yang et al.: "MedMNIST v2, a large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 10:41, 2023, doi:10.1038/s41597-022-01721-8. The file doesn't
say which pictures are of one lesion, and its splits part some.
"""

import io
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from doctor_derma.data.importers.pictures import READ_ERRORS
from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.manifest import SPLITS
from doctor_derma.errors import DermaError

# Name, source and licence.
DERMAMNIST = ("dermamnist", "doi:10.5281/zenodo.10519652", "CC BY-NC 4.0")
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def read_dermamnist(path: Path) -> list[SourceImage]:
    """List the images of ``dermamnist.npz``, or of one of its larger sizes, in their splits.

    Raises
    ------
    DermaError
        When the file can't be read or holds other arrays.
    """
    try:
        # Objects could run code when they are read.
        with np.load(path, allow_pickle=False) as arrays:
            parts = [(arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in SPLITS]
        return [
            SourceImage(
                image=f"dermamnist_{split}_{number:05d}",
                origin=f"{path}:{split}_images[{number}]",
                read=partial(_png, picture),
                suffix=".png",
                dx=CLASSES[int(label)],
                split=split,
            )
            for split, (pictures, labels) in zip(SPLITS, parts, strict=True)
            for number, (picture, label) in enumerate(zip(pictures, labels.ravel(), strict=True))
        ]
    except (*READ_ERRORS, EOFError, ValueError, KeyError, IndexError) as error:
        raise DermaError(
            f"{path}: not a file of DermaMNIST ({error}); download dermamnist.npz again"
        ) from error


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()
