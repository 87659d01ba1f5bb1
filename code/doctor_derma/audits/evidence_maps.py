"""Activation maps of the called class, and the maps they are held against."""

import numpy as np
from PIL import Image

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import Predictions

# Of each side: most dermatoscopic pictures are framed so that the lesion is in the middle.
GAUSSIAN_SIGMA = 0.25


def called_maps(predictions: Predictions) -> np.ndarray:
    """Return each picture's map of evidence for the class it is called, float32 [n, h, w].

    Raises
    ------
    DermaError
        When the predictions hold no maps.
    """
    if predictions.activation_maps is None:
        raise DermaError(
            f"{predictions.name}: the predictions hold no activation maps; predict the split again"
        )
    rows = np.arange(len(predictions.labels))
    return predictions.activation_maps[rows, predictions.predicted]


def resize_map(coarse: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch a map over a whole picture bilinearly, float32 [height, width]."""
    image = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def centred_gaussian(height: int, width: int) -> np.ndarray:
    """Return the map of a model that always looks at the middle, float64 [height, width].

    Its standard deviation is a quarter of each side and fitted to nothing; its greatest
    value is about 1.
    """
    down, across = (
        np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / GAUSSIAN_SIGMA) ** 2)
        for side in (height, width)
    )
    return np.outer(down, across)
