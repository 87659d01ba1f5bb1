"""Pictures in two colours that a tiny network learns to tell apart in seconds."""

from pathlib import Path

import numpy as np
from PIL import Image

from data.pictures import encoded, source
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import Dataset, DatasetInfo, read_dataset

SIDE = 32


def import_colours(root: Path, count: int = 40) -> Dataset:
    """Import so many pictures, half of them red and half of them blue.

    Every row of a picture has one colour, so that flips change nothing in it.
    """
    images = [_picture(index) for index in range(count)]
    sources = [
        source(f"{name}{index}", name, encoded(image)) for index, (name, image) in enumerate(images)
    ]
    import_images(sources, DatasetInfo("colours", "", "", 0), root / "data", val=0.3)
    return read_dataset(root / "data")


def _picture(index: int) -> tuple[str, Image.Image]:
    rows = np.random.default_rng(index).integers(60, 160, (SIDE, 1, 3))
    red = index % 2 == 1
    rows[..., 0 if red else 2] += 40
    pixels = np.repeat(rows, SIDE, axis=1).astype(np.uint8)
    return "red" if red else "blue", Image.fromarray(pixels)
