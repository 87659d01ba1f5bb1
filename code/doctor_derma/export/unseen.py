"""Which images of a data set a bundle has seen, and what it says of those that it has not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from doctor_derma.bundle import INFO_FILE, BundleInfo, read_info
from doctor_derma.data.manifest import Dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import Predictions, predict_split
from doctor_derma.inference.classifier import Classifier
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.folds import parts_of
from doctor_derma.training.runs import open_run


def recipe_of(info: BundleInfo, bundle: Path) -> TrainConfig:
    """Return a model's recipe, by which it is known what it has seen.

    One that is none of this version's raises `DermaError`.
    """
    try:
        return TrainConfig.model_validate(info.recipe)
    except ValidationError as error:
        raise DermaError(f"{bundle}: its recipe can't be read; export the run again") from error


def seen_images(info: BundleInfo, dataset: Dataset) -> set[str]:
    """Return the SHA-256 of the images that training, or what was fitted after it, has seen.

    That is none of a data set that the model was not trained on, and all but the test split where
    its recipe is none of this version's.
    """
    if dataset.fingerprint != info.data.fingerprint:
        return set()
    hashes = dataset.table["sha256"].to_numpy(dtype=str)
    try:
        parts = parts_of(dataset, TrainConfig.model_validate(info.recipe))
    except (DermaError, ValueError):
        return set(hashes[(dataset.table["split"] != "test").to_numpy()])
    return set(hashes[parts.train]) | set(hashes[parts.val])


def with_twins(runs: Path, bundle: Path) -> list[Path]:
    """Return a bundle, and those of its twins that are in the folder ``runs``.

    Raises as ``read_info``.
    """
    # Those of the shipped model are not here.
    twins = [runs / twin / "bundle" for twin in read_info(bundle).twins]
    return [bundle, *(twin for twin in twins if (twin / INFO_FILE).is_file())]


def load_judges(bundles: Sequence[Path], dataset: Dataset) -> list[tuple[Classifier, np.ndarray]]:
    """Load bundles, each with the images that it has not seen.

    Those are the test split, and the images that it was validated with or that it left out; of one
    that was trained on all but the test split, the test split alone.

    Returns
    -------
    of each bundle its classifier, and places in the manifest, int64 and in order

    Raises
    ------
    DermaError
        When the data are not those of a bundle's training, or it can't be loaded.
    """
    test = np.flatnonzero(dataset.table["split"] == "test")
    judges = []
    for bundle in bundles:
        info = read_info(bundle)
        if info.data.fingerprint != dataset.fingerprint:
            raise DermaError(
                f"{bundle}: trained on other data than {dataset.folder} holds, so which images it "
                "has not seen isn't known; train on these with: derma train --folds 5"
            )
        config = recipe_of(info, bundle)
        parts = parts_of(dataset, config)
        unseen = [] if config.refit else [parts.val, parts.judged]
        judges.append((Classifier.load(bundle), np.unique(np.concatenate([test, *unseen]))))
    return judges


def unseen_predictions(runs: Path, bundle: Path, info: BundleInfo, dataset: Dataset) -> Predictions:
    """Predict the images that the temperature was fitted to, by networks that have not seen them.

    Those are the model's own validation images, or, where it was trained on them, those of its
    twins in the folder ``runs``, each by its own bundle. ``dataset`` is what it was trained on.

    Raises
    ------
    DermaError
        When the data are not those of the training, or there is no such network here.
    """
    if dataset.fingerprint != info.data.fingerprint:
        raise DermaError(
            f"{dataset.folder}: not the data that {info.name} was trained on; import those again"
        )
    if info.recipe.get("refit") and not info.twins:
        raise DermaError(
            f"{info.name}: trained on the validation images too and without a twin, so nothing is "
            "left to choose an operating point on; train one with a validation split"
        )
    parts = []
    for folder in [open_run(runs, name).bundle for name in info.twins] or [bundle]:
        classifier = Classifier.load(folder)
        rows = dataset.table.iloc[parts_of(dataset, recipe_of(classifier.info, folder)).val]
        parts.append(
            predict_split(classifier, replace(dataset, table=rows.assign(split="val")), "val")
        )
    pooled: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("images", "lesions", "paths", "labels", "probabilities")
    }
    return replace(parts[0], name=info.name, activation_maps=None, rulebook=info.rulebook, **pooled)
