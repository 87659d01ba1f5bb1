"""Saved predictions: a CSV file with one row an image."""

from pathlib import Path

import numpy as np
import pandas as pd

from doctor_derma.atomic import replacing_file
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.predictions import Predictions

LEADING_COLUMNS = ("image", "lesion", "class", "label", "rule")
LAST_COLUMN = "correct"


def write_predictions_csv(predictions: Predictions, path: Path) -> None:
    """Write one row an image: image, lesion, class (true), label (called), rule (that
    called it), a probability column named by each class, correct.

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
            "rule": predictions.rule,
            **dict(zip(predictions.classes, predictions.probabilities.T, strict=True)),
            LAST_COLUMN: predictions.correct,
        }
    )
    with replacing_file(path) as scratch:
        # Nine significant digits give back every float32 probability exactly.
        table.to_csv(scratch, index=False, float_format="%.9g")
