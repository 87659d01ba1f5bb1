"""A small synthetic data set in the manner of HAM10000, for trying everything out."""

import io
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from doctor_derma.data.importers.records import SourceImage
from doctor_derma.data.synthetic.lesions import draw_lesion
from doctor_derma.data.synthetic.scenes import Skin, photograph
from doctor_derma.errors import DermaError
from doctor_derma.terminal import with_progress

# Name, source and licence of what is drawn here.
SYNTHETIC = ("synthetic", "drawn by Doctor Derma", "CC0 1.0")
# As in HAM10000 nevi lead and vascular lesions and dermatofibromas are rare, though less so.
DEFAULT_COUNTS = {"nv": 150, "mel": 66, "bkl": 60, "bcc": 48, "akiec": 36, "vasc": 30, "df": 30}
_MEAN_AGE = {"akiec": 67, "bcc": 67, "bkl": 64, "df": 52, "mel": 61, "nv": 46, "vasc": 52}
_SITES = {"back": 22, "lower extremity": 21, "trunk": 14, "upper extremity": 11, "abdomen": 10} | {
    "face": 8,
    "chest": 4,
    "foot": 3,
    "unknown": 2,
    "neck": 2,
    "scalp": 2,
    "hand": 1,
}
_IMAGES_OF_A_LESION = (0.74, 0.2, 0.06)  # Shares of lesions with one, two and three images.
_FEWEST_IMAGES = 3


def synthesize(
    counts: Mapping[str, int] | None = None,
    *,
    seed: int = 0,
    size: tuple[int, int] = (200, 150),
) -> list[SourceImage]:
    """Draw synthetic dermatoscopic images; `import_images` takes them like any source.

    Parameters
    ----------
    counts : images of each HAM10000 class, at least 3; ``DEFAULT_COUNTS`` unless given
    size : (width, height) in pixels

    Raises
    ------
    DermaError
        When a class is unknown or has fewer than 3 images.
    """
    counts = DEFAULT_COUNTS if counts is None else counts
    for dx, count in counts.items():
        if dx not in DEFAULT_COUNTS:
            raise DermaError(
                f"class '{dx}' can't be drawn; the classes are {', '.join(sorted(DEFAULT_COUNTS))}"
            )
        if count < _FEWEST_IMAGES:
            raise DermaError(
                f"class '{dx}': {count} images; draw at least {_FEWEST_IMAGES}, one a split"
            )
    drawn = (image for dx in sorted(counts) for image in _draw_class(dx, counts[dx], seed, size))
    return list(with_progress(drawn, "Drawing images", sum(counts.values())))


def scaled_counts(images: int) -> dict[str, int]:
    """Return ``DEFAULT_COUNTS`` scaled to about ``images`` in all."""
    factor = images / sum(DEFAULT_COUNTS.values())
    return {dx: round(count * factor) for dx, count in DEFAULT_COUNTS.items()}


def _draw_class(dx: str, count: int, seed: int, size: tuple[int, int]) -> Iterator[SourceImage]:
    # One stream of random numbers a class: more nevi don't change the melanomas.
    generator = np.random.default_rng([seed, *dx.encode()])
    chances = np.array(list(_SITES.values()), dtype=float)
    number = lesions = 0
    while number < count:
        lesions += 1
        views = 1 + int(generator.choice(3, p=_IMAGES_OF_A_LESION))
        if lesions <= _FEWEST_IMAGES:
            views = 1  # So that even the smallest class has a lesion for each split.
        lesion, skin = draw_lesion(dx, generator), Skin.draw(generator)
        age = float(5 * np.clip(round(generator.normal(_MEAN_AGE[dx], 14) / 5), 1, 17))
        sex = str(generator.choice(["male", "female"]))
        site = str(generator.choice(list(_SITES), p=chances / chances.sum()))
        for _ in range(min(views, count - number)):
            number += 1
            encoded = io.BytesIO()
            photograph(lesion, skin, size, generator).save(encoded, "JPEG", quality=90)
            read = partial(bytes, encoded.getvalue())
            name, of = f"synthetic_{dx}_{number:04d}", f"synthetic_{dx}_lesion_{lesions:04d}"
            yield SourceImage(name, name, read, lesion=of, dx=dx, age=age, sex=sex, site=site)
