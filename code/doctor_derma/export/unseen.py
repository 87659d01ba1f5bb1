"""Predictions of bundles on images that they have not seen, by which a rule can be chosen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from doctor_derma.bundle import BundleInfo
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
