"""Small pictures, all different, as sources for tests."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from doctor_derma.data.importers.records import SourceImage


def picture(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Return a picture whose colours vary smoothly, and not as those of another seed."""
    grid = np.random.default_rng(seed).integers(60, 220, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def source(name: str, dx: str | None, content: bytes, **known: str | None) -> SourceImage:
    read: Callable[[], bytes] = partial(bytes, content)
    return SourceImage(image=name, origin=f"{name}.jpg", read=read, dx=dx, **known)


def sources(classes: dict[str, int]) -> list[SourceImage]:
    """Return so many images of each class, each its own lesion."""
    images = []
    for dx, count in classes.items():
        for number in range(count):
            seed = 1000 * sorted(classes).index(dx) + number
            images.append(source(f"{dx}{number:03d}", dx, encoded(picture(seed))))
    return images


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def class_folders(root: Path, parts: dict[str, int], seed: int = 0) -> None:
    """Write so many pictures into each folder below ``root``."""
    for part, count in parts.items():
        for number in range(count):
            seed += 1
            name = f"{part.replace('/', '_')}_{number}.jpg"
            write(root / part / name, encoded(picture(seed)))
