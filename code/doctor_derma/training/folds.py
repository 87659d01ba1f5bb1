"""Which images a run trains on, is validated with, and is judged by: splits, folds, sources.

This is the only place that says so. Training, the calibration and thresholds of a bundle, and the
predictions that a run is judged by all take their rows from here, so that none of them can use
an image that it must not have seen.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from doctor_derma.data.manifest import Dataset
from doctor_derma.errors import DermaError
from doctor_derma.training.config import ALL_SOURCES, TrainConfig


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a data set in a run, as places in its manifest, int64 and in order.

    No image of the test split is in any of them, and no lesion is both in ``train`` and in one
    of the others.

    Attributes
    ----------
    train : what the weights are learnt from
    val : by which the best epoch is chosen, and calibration and thresholds are fitted
    judged : what the run is there to predict: its fold or the source that it leaves out, else
        ``val``
    """

    train: np.ndarray
    val: np.ndarray
    judged: np.ndarray


def parts_of(dataset: Dataset, config: TrainConfig) -> Parts:
    """Return the parts of a data set in a run.

    With ``folds`` the images of training and validation are dealt anew: the run is validated
    with one fold and trains on the others. A ``refit`` trains on all of them, so that what it says
    of its ``val`` images measures nothing. With ``leave_source_out`` it does what the splits say,
    but without the lesions of one source, whose images are judged. Else the splits say it all.

    Raises
    ------
    DermaError
        When the recipe stands for several runs, or the data set has no such source or lesions.
    """
    if config.runs_in_turn:
        raise DermaError(
            "folds, leave_source_out: the recipe stands for several runs; name one of them with "
            "fold, or with the source that it leaves out"
        )
    split = dataset.table["split"].to_numpy(dtype=str)
    if config.refit:
        return Parts(np.flatnonzero(split != "test"), *[np.flatnonzero(split == "val")] * 2)
    if config.fold is not None:
        rows = np.flatnonzero(split != "test")
        table = dataset.table.iloc[rows]
        folds = _folds(tuple(table["class"]), tuple(table["lesion"]), config.folds, config.seed)
        val = rows[folds == config.fold]
        return Parts(rows[folds != config.fold], val, val)
    train, val = split == "train", split == "val"
    if config.leave_source_out is None:
        return Parts(np.flatnonzero(train), *[np.flatnonzero(val)] * 2)
    left_out = _left_out(dataset, config.leave_source_out)
    lesion = dataset.table["lesion"].to_numpy(dtype=str)
    others = ~np.isin(lesion, lesion[left_out])
    parts = (train & others, val & others, (split != "test") & left_out)
    return Parts(*map(np.flatnonzero, parts))


def recipes_in_turn(dataset: Dataset, config: TrainConfig) -> dict[str, TrainConfig]:
    """Return what the name of each run ends with that a recipe stands for, and its own recipe.

    Raises
    ------
    DermaError
        When the data set does not say where its images are from, they are all from one source, or
        the runs of two sources would have one name.
    """
    if config.folds:
        return {
            f"fold{fold}": config.model_copy(update={"fold": fold}) for fold in range(config.folds)
        }
    found: dict[str, TrainConfig] = {}
    for source in known_sources(dataset):
        ending = "without-" + re.sub(r"[^\w.-]+", "-", source)
        if other := found.get(ending):
            raise DermaError(
                f"--leave-source-out: the runs of '{other.leave_source_out}' and '{source}' would "
                f"both end with {ending}; rename one of these sources of {dataset.folder}, and "
                "import again"
            )
        found[ending] = config.model_copy(update={"leave_source_out": source})
    return found


def known_sources(dataset: Dataset) -> list[str]:
    """Return where the images of training and validation are from, sorted.

    Raises `DermaError` when that isn't known, or they are all from one source.
    """
    table = dataset.table[dataset.table["split"] != "test"]
    sources = sorted(set(table["source"]) - {""})
    if not sources or set(table["source"]) == {sources[0]}:
        found = f"are all from {sources[0]}" if sources else "are from isn't known"
        what = "the images" if sources else "where the images"
        raise DermaError(
            f"--leave-source-out: {what} of {dataset.folder} {found}; import data with a source "
            "of each image"
        )
    return sources


def assign_folds(
    classes: Sequence[str], lesions: Sequence[str], folds: int, seed: int = 0
) -> np.ndarray:
    """Deal images to folds, with whole lesions together and the classes' shares kept.

    Equal classes, lesions and seed give equal folds.

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


# A second or two for ten thousand images, and asked for at every step of a run.
_folds = lru_cache(maxsize=4)(assign_folds)


def _left_out(dataset: Dataset, source: str) -> np.ndarray:
    """Return which images are from a source, bool of shape (images,)."""
    if source not in (known := known_sources(dataset)):
        raise DermaError(
            f"--leave-source-out {source}: no image of {dataset.folder} is from there; the "
            f"sources are {', '.join(known)}, or '{ALL_SOURCES}' for each in turn"
        )
    return dataset.table["source"].to_numpy(dtype=str) == source
