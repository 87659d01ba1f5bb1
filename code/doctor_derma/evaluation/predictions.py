"""What a model said about a split: the one thing every other file of this package reads."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image

from doctor_derma.atomic import replacing_file
from doctor_derma.cpus import usable_cpus
from doctor_derma.data.importers.pictures import READ_ERRORS
from doctor_derma.data.manifest import SPLITS, Dataset
from doctor_derma.decisions import Rule, Rulebook
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import UnreadableImage, decode, open_image
from doctor_derma.terminal import with_progress

if TYPE_CHECKING:
    from doctor_derma.inference.classifier import Classifier, Outputs

BATCH_SIZE = 64
LEADING_COLUMNS = ("image", "lesion", "class", "label", "rule")
LAST_COLUMNS = ("correct", "ood_score")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one model on n images and K classes.

    Attributes
    ----------
    name : name of the model
    classes : the K short class names; column i of ``probabilities`` is ``classes[i]``
    images, lesions : str arrays [n], the image and lesion names
    paths : str array [n], absolute picture paths, empty where unknown
    labels : int64 [n], index of the true class
    probabilities : float64 [n, K]
    activation_maps : float32 [n, K, h, w] evidence for each class, or None
    ood : float [n], the out-of-distribution score, over 1 for a picture unlike the training
        images; None where it is unknown
    rulebook : the model's decision rules; None to call the most probable class

    Raises
    ------
    DermaError
        When there are no images, the shapes disagree, or a probability is not within 0 and 1.
    """

    name: str
    classes: tuple[str, ...]
    images: np.ndarray
    lesions: np.ndarray
    paths: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    activation_maps: np.ndarray | None = None
    rulebook: Rulebook | None = None
    ood: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.images)
        if count == 0:
            raise DermaError(f"{self.name}: no predictions to evaluate; choose a split with images")
        lengths = {len(self.lesions), len(self.paths), len(self.labels)}
        if lengths != {count} or self.probabilities.shape != (count, len(self.classes)):
            raise DermaError(
                f"{self.name}: {count} images and {len(self.classes)} classes do not match "
                f"probabilities of shape {self.probabilities.shape}; predict the split again"
            )
        if not np.all((self.probabilities >= 0) & (self.probabilities <= 1 + 1e-6)):
            raise DermaError(
                f"{self.name}: a probability is not a number from 0 to 1; "
                "check that training did not diverge, then export the run again"
            )

    @classmethod
    def of_table(
        cls,
        table: pd.DataFrame,
        name: str,
        classes: tuple[str, ...],
        probabilities: np.ndarray,
        paths: Sequence[str] | None = None,
        **others: Any,
    ) -> "Predictions":
        """Take the images, lesions and true classes from columns ``image``, ``lesion``, ``class``.

        Parameters
        ----------
        paths : absolute picture paths, None where they are unknown
        others : attributes that have a default

        Raises
        ------
        DermaError, ValueError
            As the class does, and when a true class is none of ``classes``.
        """
        return cls(
            name=name,
            classes=classes,
            images=table["image"].to_numpy(dtype=str),
            lesions=table["lesion"].to_numpy(dtype=str),
            paths=np.full(len(table), "") if paths is None else np.array(paths, dtype=str),
            labels=np.array([classes.index(true) for true in table["class"]], dtype=np.int64),
            probabilities=probabilities.astype(np.float64),
            **others,
        )

    @property
    def rule(self) -> Rule:
        """The rule by which ``predicted`` is decided."""
        return self.rulebook.default if self.rulebook else "most-probable"

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules that the model has."""
        return self.rulebook.rules if self.rulebook else ("most-probable",)

    def decide(self, probabilities: np.ndarray, rule: Rule | None = None) -> np.ndarray:
        """Return the class that the model calls at some probabilities [m, K], int64 [m]."""
        if self.rulebook is None:
            return probabilities.argmax(axis=1)
        return self.rulebook.decide(probabilities, rule)

    @property
    def predicted(self) -> np.ndarray:
        """Index of the class that is called, int64 [n]: the decision that is evaluated."""
        return self.decide(self.probabilities)

    @property
    def correct(self) -> np.ndarray:
        """Whether the called class is the true one, bool [n]."""
        return self.predicted == self.labels

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the called class, float64 [n]; by some rules not the greatest."""
        return np.take_along_axis(self.probabilities, self.predicted[:, None], axis=1)[:, 0]

    @property
    def lesion_count(self) -> int:
        """Number of lesions that the images show."""
        return len(np.unique(self.lesions))

    def take(self, rows: np.ndarray) -> "Predictions":
        """Return the predictions of some images, in the order of ``rows``, int [m]."""
        taken: dict[str, Any] = {
            name: of[rows] for name, of in vars(self).items() if isinstance(of, np.ndarray)
        }
        return replace(self, **taken)

    def class_counts(self) -> dict[str, tuple[int, int]]:
        """Count the images and the lesions of each class."""
        lesions = [self.lesions[self.labels == index] for index in range(len(self.classes))]
        return {
            name: (len(of), len(np.unique(of)))
            for name, of in zip(self.classes, lesions, strict=True)
        }

    @property
    def testable_classes(self) -> list[int]:
        """Classes with images of their own and of others: the ones that have curves."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return [index for index, n in enumerate(counts) if 0 < n < len(self.labels)]


def predict_split(classifier: "Classifier", dataset: Dataset, split: str) -> Predictions:
    """Decode every image of a split as serving does, and predict it.

    Raises
    ------
    DermaError
        When the split is unknown or empty, holds a class the model does not know, or a
        picture can't be decoded.
    """
    if split not in SPLITS:
        raise DermaError(f"split '{split}': unknown; use {', '.join(SPLITS)}")
    rows = dataset.split(split)
    if rows.empty:
        raise DermaError(f"{dataset.folder}: split '{split}' has no images; import the data again")
    classes = tuple(classifier.class_names)
    if unknown := sorted(set(rows["class"]) - set(classes)):
        raise DermaError(
            f"{dataset.folder}: class '{unknown[0]}' is not one of {classifier.name} "
            f"({', '.join(classes)}); evaluate a model trained on this data"
        )
    paths = [(dataset.folder / path).resolve() for path in rows["path"]]
    outputs, unreadable = predict_pictures(classifier, paths)
    for index, reason in unreadable.items():
        raise DermaError(f"{paths[index]}: {reason}; import the data again")
    return Predictions.of_table(
        rows,
        classifier.name,
        classes,
        outputs.probabilities,
        [str(path) for path in paths],
        activation_maps=outputs.activation_maps,
        rulebook=classifier.rulebook,
        ood=outputs.unfamiliarity,
    )


def predict_pictures(
    classifier: "Classifier", pictures: Sequence[Path | Callable[[], bytes]]
) -> tuple["Outputs", dict[int, str]]:
    """Decode pictures as serving does, and predict those that can be decoded.

    Parameters
    ----------
    pictures : each a file, or what gives the bytes of one

    Returns
    -------
    outputs : of the m pictures that can be decoded, in their order
    unreadable : position -> why it can't be, of the others
    """
    load = partial(_load_pixels, height=classifier.height, width=classifier.width)
    unreadable: dict[int, str] = {}
    outputs = []
    starts = range(0, len(pictures), BATCH_SIZE)
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for start in with_progress(starts, f"Predicting with {classifier.name}"):
            loaded = list(pool.map(load, pictures[start : start + BATCH_SIZE]))
            pixels = [one for one in loaded if isinstance(one, np.ndarray)]
            unreadable |= {at: one for at, one in enumerate(loaded, start) if isinstance(one, str)}
            if pixels:
                outputs.append(classifier.outputs(np.stack(pixels)))
    if not outputs:  # None of them, in the right shape.
        nothing = np.zeros((0, classifier.height, classifier.width, 3), dtype=np.uint8)
        outputs.append(classifier.outputs(nothing))
    return type(outputs[0])(*map(np.concatenate, zip(*outputs, strict=True))), unreadable


def open_picture(path: Path) -> Image.Image:
    """Decode a picture of the data set; the error of one that can't be decoded names it."""
    try:
        return open_image(path)
    except UnreadableImage as error:
        raise DermaError(f"{path}: {error}; import the data again") from error


def write_predictions_csv(predictions: Predictions, path: Path) -> None:
    """Write one row an image: image, lesion, class (true), label (called), rule (that
    called it), a probability column named by each class, correct, and where it is known the
    ood_score, over 1 for a picture unlike the training images.

    Raises
    ------
    DermaError
        When a class has the name of one of the other columns.
    """
    if taken := {*LEADING_COLUMNS, *LAST_COLUMNS} & set(predictions.classes):
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
            "correct": predictions.correct,
        }
    )
    if predictions.ood is not None:
        table["ood_score"] = predictions.ood
    with replacing_file(path) as scratch:
        # Nine significant digits give back every float32 probability exactly.
        table.to_csv(scratch, index=False, float_format="%.9g")


def read_predictions_csv(path: Path, name: str, rulebook: Rulebook) -> Predictions:
    """Read what ``write_predictions_csv`` wrote of the model that has a rulebook.

    Raises
    ------
    DermaError
        When the file can't be read, or is of other classes.
    """
    classes = rulebook.classes
    text = dict.fromkeys(LEADING_COLUMNS, str)
    try:
        table = pd.read_csv(path, dtype=text, keep_default_na=False)
        return Predictions.of_table(
            table,
            name,
            classes,
            table[list(classes)].to_numpy(),
            rulebook=rulebook,
            ood=table["ood_score"].to_numpy() if "ood_score" in table.columns else None,
        )
    except (OSError, ValueError, KeyError) as error:
        raise DermaError(
            f"{path}: can't be read ({error}); run 'derma evaluate {name}' again"
        ) from error


def _load_pixels(picture: Path | Callable[[], bytes], height: int, width: int) -> np.ndarray | str:
    """Return a picture at the network's size, or why it can't be decoded."""
    try:
        source = picture if isinstance(picture, Path) else picture()
        return decode(source, height, width).pixels
    except UnreadableImage as error:
        return str(error)
    # Of a member of an archive it may be damaged or encrypted.
    except READ_ERRORS as error:
        return getattr(error, "strerror", None) or str(error)
