"""What can be wrong with the images of a data set, as far as it shows without a network.

Pictures of one lesion, or near-identical ones, whose labels contradict each other or that lie in
several splits; and pictures that are darker, brighter or more blurred than nearly all are. An
import lets few of the first two pass, but labels are changed later, and manifests edited.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd

from doctor_derma.bundle import QualityLimits
from doctor_derma.cpus import usable_cpus
from doctor_derma.data.corrections import DROP, RELABEL
from doctor_derma.data.importers.screening import connected_groups, repeated
from doctor_derma.data.manifest import SPLITS, Dataset
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import UnreadableImage, open_image
from doctor_derma.images.quality import measure_quality
from doctor_derma.images.thumbnails import near_identical_pairs, thumbnail
from doctor_derma.terminal import with_progress


class Problem(StrEnum):
    """What is wrong with an image; in the order of the page."""

    LEAKAGE = "leakage"
    DUPLICATE_LABELS = "duplicate-labels"
    LESION_LABELS = "lesion-labels"
    LABEL = "label"
    OUTLIER = "outlier"
    BLURRED = "blurred"
    DARK = "dark"
    BRIGHT = "bright"


@dataclass(frozen=True)
class Finding:
    """One thing that may be wrong with one image.

    Attributes
    ----------
    row : place of the image in the manifest
    score : how suspicious it is, from 0 to 1
    suggested : ``drop``, ``relabel:CLASS``, or nothing where somebody has to look
    detail : what was found, in words
    """

    row: int
    problem: Problem
    score: float
    suggested: str
    detail: str


def near_identical_images(dataset: Dataset) -> np.ndarray:
    """Find the near-identical images of a data set, as an import does.

    Returns
    -------
    places in the manifest, int of shape (pairs, 2), each row i < j

    Raises
    ------
    DermaError
        When a picture can't be decoded.
    """

    def shrink(path: Path) -> np.ndarray:
        try:
            return thumbnail(open_image(path, least_side=None))
        except UnreadableImage as error:
            raise DermaError(f"{path}: {error}; import the data again") from error

    paths = [dataset.folder / path for path in dataset.table["path"]]
    with ThreadPoolExecutor(usable_cpus()) as threads:
        small = with_progress(threads.map(shrink, paths), "Comparing pictures", len(paths))
        return near_identical_pairs(np.stack(list(small)))


def find_leakage(table: pd.DataFrame, pairs: np.ndarray) -> list[Finding]:
    """Find images that show what is in a split that is held out further, too.

    Parameters
    ----------
    table : the manifest
    pairs : of ``near_identical_images``
    """
    held_out = table["split"].map(SPLITS.index).to_numpy()
    found: dict[int, Finding] = {}

    def leaks(row: int, other: int, what: str) -> None:
        detail = f"{what} {table['split'].iat[other]}, as {table['image'].iat[other]}"
        found.setdefault(row, Finding(int(row), Problem.LEAKAGE, 1.0, DROP, detail))

    for rows in repeated(table["lesion"].to_numpy(dtype=str)):
        furthest = rows[held_out[rows].argmax()]
        for row in rows[held_out[rows] < held_out[furthest]]:
            leaks(row, furthest, f"lesion {table['lesion'].iat[row]}, which is in")
    for pair in pairs:
        row, other = pair[np.argsort(held_out[pair], kind="stable")]
        if held_out[row] < held_out[other]:
            leaks(row, other, "almost the same picture as")
    return list(found.values())


def find_contradictions(
    table: pd.DataFrame, pairs: np.ndarray, classes: tuple[str, ...], probabilities: np.ndarray
) -> list[Finding]:
    """Find images that are labelled otherwise than others of the same picture or lesion.

    What most of them are labelled is taken for true, and in a tie the label that networks find most
    probable; where none has an opinion, all are named.

    Parameters
    ----------
    table : the manifest
    pairs : of ``near_identical_images``
    classes : the K classes
    probabilities : float [images, K], nan where no network has an opinion
    """
    labels = table["class"].to_numpy(dtype=str)
    # Where only the patient is known, these are several lesions.
    lesions = table["lesion"].to_numpy(dtype=str)
    of_patient = np.char.startswith(lesions, "patient ")
    alike = {
        Problem.DUPLICATE_LABELS: repeated(connected_groups(pairs, len(table))),
        Problem.LESION_LABELS: (rows for rows in repeated(lesions) if not of_patient[rows[0]]),
    }
    found: dict[int, Finding] = {}
    for problem, groups in alike.items():
        for rows in groups:
            if len(set(labels[rows])) == 1:
                continue
            truth, sureness = _most_likely(labels[rows], classes, probabilities[rows])
            suggested = f"{RELABEL}{truth}" if truth else ""
            for row in rows:
                if labels[row] != truth and row not in found:
                    detail = _others(table, rows, row, problem)
                    found[row] = Finding(int(row), problem, sureness, suggested, detail)
    return list(found.values())


def find_poor_pictures(pixels: np.ndarray, limits: QualityLimits) -> list[Finding]:
    """Find pictures that are beyond what nearly all training images of a model are.

    Parameters
    ----------
    pixels : uint8 [images, height, width, 3], in the order of the manifest
    limits : of the model
    """
    found = []
    for row, picture in enumerate(with_progress(pixels, "Looking at light and focus", len(pixels))):
        quality = measure_quality(picture)
        beyond = {
            Problem.BLURRED: quality.sharpness / max(limits.blurriest, 1e-9),
            Problem.DARK: quality.luminance / max(limits.darkest, 1e-9),
            Problem.BRIGHT: (1 - quality.luminance) / max(1 - limits.brightest, 1e-9),
        }
        measured = {
            Problem.BLURRED: f"sharpness {quality.sharpness:.0f}, below {limits.blurriest:.0f}",
            Problem.DARK: f"luminance {quality.luminance:.2f}, below {limits.darkest:.2f}",
            Problem.BRIGHT: f"luminance {quality.luminance:.2f}, above {limits.brightest:.2f}",
        }
        found += [
            Finding(row, problem, 1 - share, "", measured[problem])
            for problem, share in beyond.items()
            if share < 1
        ]
    return found


def _most_likely(
    labels: np.ndarray, classes: tuple[str, ...], probabilities: np.ndarray
) -> tuple[str, float]:
    """Return what most are labelled and how sure that is, and in a tie what is most probable."""
    counts = Counter(labels.tolist())
    most = [label for label, count in counts.items() if count == max(counts.values())]
    if len(most) == 1:
        return most[0], 1.0
    known = probabilities[~np.isnan(probabilities).any(axis=1)]
    if not len(known):
        return "", 0.5
    believed = known.mean(axis=0)[[classes.index(label) for label in most]]
    return most[believed.argmax()], float(believed.max() / max(believed.sum(), 1e-12))


def _others(table: pd.DataFrame, rows: np.ndarray, row: int, problem: Problem) -> str:
    labels = table["class"].to_numpy(dtype=str)
    others = [other for other in rows if labels[other] != labels[row]]
    what = "almost the same picture" if problem is Problem.DUPLICATE_LABELS else "the same lesion"
    named = ", ".join(f"{table['image'].iat[i]} ({labels[i]})" for i in others[:3])
    return f"{what} as {named}{' and more' if len(others) > 3 else ''}"
