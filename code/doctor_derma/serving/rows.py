"""Many pictures to rows, batch by batch, where a bad picture is a row with its error."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from doctor_derma.data.decoding import ImageSource, UnreadableImage
from doctor_derma.errors import DermaError
from doctor_derma.serving.classifier import Classifier
from doctor_derma.serving.graph import usable_cpus


@dataclass(frozen=True)
class Row:
    """One picture's prediction, or the reason why it has none.

    Attributes
    ----------
    path : as given
    label : short name of the most probable class; None for a bad picture
    probabilities : short class name to probability; empty for a bad picture
    error : why the picture couldn't be read; None for a good one
    """

    path: str
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    error: str | None = None


def predict_rows(
    classifier: Classifier, paths: Iterable[Path], batch_size: int = 32
) -> Iterator[Row]:
    """Classify picture files, one row each, in order.

    At most ``batch_size`` pictures are in memory at a time. They are decoded on all
    processors.
    """
    return predict_sources(classifier, ((str(path), path) for path in paths), batch_size)


def predict_sources(
    classifier: Classifier, sources: Iterable[tuple[str, ImageSource]], batch_size: int = 32
) -> Iterator[Row]:
    """Classify pictures from anywhere, each given with the path to show in its row."""
    if batch_size < 1:
        raise DermaError(f"batch_size: {batch_size} is too few; give 1 or more")
    return _rows(classifier, iter(sources), batch_size)


def _rows(
    classifier: Classifier, sources: Iterator[tuple[str, ImageSource]], batch_size: int
) -> Iterator[Row]:
    def read(source: tuple[str, ImageSource]) -> np.ndarray | UnreadableImage:
        try:
            return classifier.pixels(source[1])
        except UnreadableImage as error:
            return error

    with ThreadPoolExecutor(usable_cpus()) as pool:
        while batch := list(islice(sources, batch_size)):
            pictures = list(pool.map(read, batch))
            good = [picture for picture in pictures if isinstance(picture, np.ndarray)]
            predictions = iter(
                classifier.describe(*classifier.predict_pixels(np.stack(good))) if good else []
            )
            for (path, _), picture in zip(batch, pictures, strict=True):
                if isinstance(picture, UnreadableImage):
                    yield Row(path, error=str(picture))
                else:
                    prediction = next(predictions)
                    yield Row(path, prediction.label, prediction.probabilities)
