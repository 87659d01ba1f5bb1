"""Saved predictions: a CSV file with one row an image."""

from pathlib import Path

import numpy as np
import pandas as pd

from doctor_derma.atomic import replacing_file
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import Predictions

LEADING_COLUMNS = ("image", "lesion", "class", "label")
LAST_COLUMN = "correct"


def write_predictions_csv(predictions: Predictions, path: Path) -> None:
    """Write one row an image: image, lesion, class (true), label (predicted), a
    probability column named by each class, correct.

    Raises
    ------
    DermaError
        When a class has the name of one of the other columns.
    """
    if taken := {*LEADING_COLUMNS, LAST_COLUMN} & set(predictions.classes):
        raise DermaError(
            f"{path}: class '{sorted(taken)[0]}' has the name of another column; rename the class"
        )
    names = np.array(predictions.classes)
    table = pd.DataFrame(
        {
            "image": predictions.images,
            "lesion": predictions.lesions,
            "class": names[predictions.labels],
            "label": names[predictions.predicted],
            **dict(zip(predictions.classes, predictions.probabilities.T, strict=True)),
            LAST_COLUMN: predictions.correct,
        }
    )
    with replacing_file(path) as scratch:
        # Nine significant digits give back every float32 probability exactly.
        table.to_csv(scratch, index=False, float_format="%.9g")


def read_predictions_csv(path: Path, name: str | None = None) -> Predictions:
    """Read what ``write_predictions_csv`` wrote, without picture paths and activation maps.

    Parameters
    ----------
    path : the CSV file
    name : name of the model; by default the name of the file's folder

    Raises
    ------
    DermaError
        When the file is missing, a column is missing, or a value is wrong.
    """
    try:
        table = pd.read_csv(path, dtype=str, na_filter=False)
    except (OSError, ValueError) as error:
        raise DermaError(f"{path}: can't be read ({error}); run 'derma evaluate' again") from error
    if missing := [column for column in LEADING_COLUMNS if column not in table.columns]:
        raise DermaError(f"{path}: column '{missing[0]}' is missing; run 'derma evaluate' again")
    classes = tuple(c for c in table.columns if c not in (*LEADING_COLUMNS, LAST_COLUMN))
    try:
        probabilities = table[list(classes)].to_numpy(dtype=np.float64)
        labels = [classes.index(value) for value in table["class"]]
    except ValueError as error:
        raise DermaError(f"{path}: wrong value ({error}); run 'derma evaluate' again") from error
    return Predictions(
        name=name or path.resolve().parent.name,
        classes=classes,
        images=table["image"].to_numpy(dtype=str),
        lesions=table["lesion"].to_numpy(dtype=str),
        paths=np.full(len(table), "", dtype=str),
        labels=np.array(labels, dtype=np.int64),
        probabilities=probabilities,
    )
