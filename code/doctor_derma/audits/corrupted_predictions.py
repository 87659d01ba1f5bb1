"""What a model says about every corrupted version of its pictures."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from doctor_derma.audits.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from doctor_derma.cpus import usable_cpus
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import PixelClassifier, Predictions, open_picture
from doctor_derma.images.decoding import fit_pixels
from doctor_derma.terminal import with_progress

_PICTURES_AT_ONCE = 16


def predict_corrupted(classifier: PixelClassifier, predictions: Predictions) -> np.ndarray:
    """Predict each picture under every corruption and severity.

    A picture is decoded once, corrupted at its own size, then scaled to the network's.

    Parameters
    ----------
    classifier : the one that made ``predictions``
    predictions : of n images whose paths are known

    Returns
    -------
    float64 probabilities [V, n, K]; the versions V are the severities of the first of
    ``CORRUPTIONS``, then those of the next

    Raises
    ------
    DermaError
        When a picture path is unknown, a picture can't be decoded, or the classifier has
        other classes.
    """
    if tuple(classifier.class_names) != predictions.classes:
        raise DermaError(
            f"{predictions.name}: its classes are not those of {classifier.name}; "
            "predict the split with the model that is audited"
        )
    if not all(predictions.paths):
        raise DermaError(f"{predictions.name}: a picture path is unknown; predict the split again")
    pictures = _corrupted_pictures(classifier, predictions)
    steps = with_progress(pictures, "Predicting corrupted pictures", len(predictions.images))
    outputs = [classifier.predict_pixels(versions)[0] for versions in steps]
    return np.stack(outputs, axis=1).astype(np.float64)


def _corrupted_pictures(
    classifier: PixelClassifier, predictions: Predictions
) -> Iterator[np.ndarray]:
    """Yield all versions of one picture after the other, uint8 [V, height, width, 3]."""

    def load(path: str, image: str) -> np.ndarray:
        pixels = np.asarray(open_picture(Path(path)))
        versions = (corrupt(name, pixels, s, image) for name in CORRUPTIONS for s in SEVERITIES)
        height, width = classifier.height, classifier.width
        return np.stack([fit_pixels(Image.fromarray(v), height, width) for v in versions])

    # A few pictures at a time, as all their versions wait in memory.
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for start in range(0, len(predictions.images), _PICTURES_AT_ONCE):
            part = slice(start, start + _PICTURES_AT_ONCE)
            yield from pool.map(load, predictions.paths[part], predictions.images[part])
