"""Folds over lesions: which images a run trains on, and which it is judged by."""

from collections.abc import Sequence

import numpy as np

from doctor_derma.errors import DermaError


def assign_folds(
    classes: Sequence[str], lesions: Sequence[str], folds: int, seed: int = 0
) -> np.ndarray:
    """Deal images to folds, with whole lesions together and the classes' shares kept.

    Equal classes, lesions and seed give equal folds.

    Parameters
    ----------
    classes, lesions : of each image
    folds : how many

    Returns
    -------
    the fold of each image, int64 of shape (images,), from 0 to ``folds`` - 1

    Raises
    ------
    DermaError
        When there are fewer than two folds, or a class has fewer lesions than folds.
    """
    # Here, as the command line reads the settings without it.
    from sklearn.model_selection import StratifiedGroupKFold

    if folds < 2:
        raise DermaError(f"--folds {folds}: use two or more")
    labels, groups = np.asarray(classes, dtype=str), np.asarray(lesions, dtype=str)
    for name in np.unique(labels):
        count = len(np.unique(groups[labels == name]))
        if count < folds:
            raise DermaError(
                f"--folds {folds}: class '{name}' has {count} lesion{'s' * (count != 1)}, too few "
                "to put one into each fold; use fewer folds or add images of other lesions"
            )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    assigned = np.empty(len(labels), dtype=np.int64)
    for fold, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
        assigned[rows] = fold
    return assigned
