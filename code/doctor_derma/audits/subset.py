"""Fewer images of the same mix, for audits that predict each image many times."""

import numpy as np

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import Predictions


def stratified_subset(predictions: Predictions, limit: int, seed: int) -> Predictions:
    """Draw about ``limit`` images, by whole lesions, with the classes in the same shares.

    Each class that has images keeps at least one lesion, and a lesion all its images, so
    that a few more images than ``limit`` may come.

    Parameters
    ----------
    limit : images wanted, 1 or more; all are returned when there are no more
    seed : of the draw

    Returns
    -------
    Predictions in the same order

    Raises
    ------
    DermaError
        When ``limit`` is less than 1.
    """
    count = len(predictions.images)
    if limit < 1:
        raise DermaError(f"limit: {limit} is too few images; use 1 or more")
    if limit >= count:
        return predictions
    _, first_image, lesion_of, sizes = np.unique(
        predictions.lesions, return_index=True, return_inverse=True, return_counts=True
    )
    class_of = predictions.labels[first_image]
    generator = np.random.default_rng(seed)
    kept = np.zeros(len(sizes), dtype=bool)
    for label in np.unique(class_of):
        shuffled = generator.permutation(np.flatnonzero(class_of == label))
        wanted = limit * sizes[shuffled].sum() / count
        # A lesion is drawn while those before it fall short of the class's share.
        before = np.cumsum(sizes[shuffled]) - sizes[shuffled]
        kept[shuffled[before < wanted - 0.5]] = True
        kept[shuffled[0]] = True
    return predictions.take(np.flatnonzero(kept[lesion_of]))
