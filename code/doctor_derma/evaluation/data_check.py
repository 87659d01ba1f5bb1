"""What may be wrong in a data set, for people to decide: a page of pictures, a CSV to fill in."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.corrections import DROP, RELABEL
from doctor_derma.data.importers.tables import read_table, require_columns
from doctor_derma.data.manifest import Dataset
from doctor_derma.data.problems import (
    Finding,
    Problem,
    find_contradictions,
    find_leakage,
    find_poor_pictures,
    near_identical_images,
)
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.calibration import with_class_shares
from doctor_derma.evaluation.external import assumed_shares
from doctor_derma.evaluation.gallery import shrunk_picture
from doctor_derma.evaluation.predictions import BATCH_SIZE
from doctor_derma.evaluation.report import write_json, write_page
from doctor_derma.evaluation.tables import Table, counted
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import with_progress

CSV_FILE = "data_check.csv"
PAGE_FILE = "data_check.html"
SUMMARY_FILE = "data_check.json"
TEMPLATE = "data_check.html.jinja"
COLUMNS = ("path", "problem", "score", "label", "suggested", "action", "detail")
PICTURE_WIDTH = 220
NOTICE = (
    "Not a medical device. A network's doubt about a label is no diagnosis: let somebody who can "
    "read such pictures decide, and see where the diagnosis came from before changing it."
)
EXPLANATIONS = {
    Problem.LEAKAGE: "The same lesion, or almost the same picture, is in a split that is held out "
    "further: figures there would be too good. The picture in training should go.",
    Problem.DUPLICATE_LABELS: "Almost the same picture has another label elsewhere.",
    Problem.LESION_LABELS: "Other pictures of this lesion have another label. Shown are those in "
    "the minority, or, in a tie, those that the networks believe less.",
    Problem.LABEL: "Networks that have not seen the picture call it something else, more surely "
    "than chance explains (confident learning: Northcutt et al., JAIR 70, 2021).",
    Problem.OUTLIER: "Farther from the training images than 95% of unseen pictures are. Not wrong "
    "by itself: a rare finding, another kind of picture, or no lesion at all.",
    Problem.BLURRED: "Less sharp than 99.8% of the training images.",
    Problem.DARK: "Darker than 99.8% of the training images.",
    Problem.BRIGHT: "Brighter than 99.8% of the training images.",
}


@dataclass(frozen=True, eq=False)
class Judged:
    """What networks say of images that they have not been trained on.

    Attributes
    ----------
    probabilities : float64 [images, K] for the class shares of the data, in the order of the
        manifest; nan where no network is here that has not seen the image
    ood : float64 [images], over 1 for a picture unlike the training images; nan in the same places
    """

    probabilities: np.ndarray
    ood: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Places of the images that were judged, int [m]."""
        return np.flatnonzero(~np.isnan(self.ood))


def judge(judges: Sequence[tuple[Classifier, np.ndarray]], dataset: Dataset) -> Judged:
    """Let each model predict the images that it has not seen; where several do, take the mean.

    Parameters
    ----------
    judges : models of the data set's classes, each with places in the manifest
    """
    count = len(dataset.table)
    shares = np.bincount(dataset.targets(dataset.table), minlength=len(dataset.classes)) / count
    probabilities, ood = np.zeros((count, len(dataset.classes))), np.zeros(count)
    times = np.zeros(count)
    for classifier, rows in judges:
        info = classifier.info
        pixels = pixel_cache(dataset, classifier.height, classifier.width)
        assumed = assumed_shares(info.class_shares, info.prior_weight, info.temperature)
        starts = range(0, len(rows), BATCH_SIZE)
        for start in with_progress(starts, f"Predicting with {classifier.name}"):
            batch = rows[start : start + BATCH_SIZE]
            outputs = classifier.outputs(pixels[batch])
            found = outputs.probabilities.astype(np.float64)
            probabilities[batch] += with_class_shares(found, assumed, shares)
            ood[batch] += outputs.unfamiliarity
            times[batch] += 1
    with np.errstate(invalid="ignore"):
        return Judged(probabilities / times[:, None], ood / times)


def find_problems(
    judges: Sequence[tuple[Classifier, np.ndarray]], dataset: Dataset
) -> tuple[list[Finding], Judged]:
    """Find all that may be wrong in a data set.

    Raises
    ------
    DermaError
        When a picture can't be decoded.
    """
    table, first = dataset.table, judges[0][0]
    judged = judge(judges, dataset)
    rows = judged.rows
    pairs = near_identical_images(dataset)
    labels = np.array(dataset.targets(table))[rows]
    pixels = pixel_cache(dataset, first.height, first.width)
    findings = [
        *find_leakage(table, pairs),
        *find_contradictions(table, pairs, dataset.classes, judged.probabilities),
        *find_label_errors(rows, labels, judged.probabilities[rows], dataset.classes),
        *_outliers(judged),
        *find_poor_pictures(pixels, first.info.quality),
    ]
    return findings, judged


def find_label_errors(
    rows: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]
) -> list[Finding]:
    """Find labels that networks contradict, by the confident learning of Northcutt et al. [1]_.

    An image counts as of class j where the probability of j is at least what it is on average over
    the images that are labelled j, so a class that is called less readily has a lower threshold.
    The counts of given against such labels estimate how many images with each label are wrongly so;
    which they are is decided by these rates (PBNR of the paper). The score is one minus the
    probability of the given label. Cleanlab, by the paper's authors, does it.

    Parameters
    ----------
    rows : places in the manifest of n images, int [n]
    labels : index of the given label of each, int [n]
    probabilities : of networks that have not seen them, with the class shares of the data, float
        [n, K]
    classes : the K classes

    References
    ----------
    .. [1] C. G. Northcutt, L. Jiang, I. L. Chuang: Confident Learning: Estimating Uncertainty in
           Dataset Labels. Journal of Artificial Intelligence Research 70, 2021.
    """
    # Here, as it takes a second to load.
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        # Of classes without an image among these, which have no wrong label either.
        warnings.filterwarnings("ignore", "May not flag all label issues")
        wrong = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    called = probabilities.argmax(axis=1)
    found = []
    for at in np.flatnonzero(wrong & (called != labels)):
        given, other = labels[at], called[at]
        sure, unsure = probabilities[at, other], probabilities[at, given]
        detail = f"{classes[other]} {sure:.0%}, {classes[given]} {unsure:.1%}"
        suggested = f"{RELABEL}{classes[other]}"
        score = 1 - float(unsure)
        found.append(Finding(int(rows[at]), Problem.LABEL, score, suggested, detail))
    return found


def as_table(findings: Sequence[Finding], table: pd.DataFrame) -> pd.DataFrame:
    """Return one row an image, the most suspicious first, with the columns ``COLUMNS``.

    Problems of an image are joined by semicolons, the most suspicious first; its score is the
    highest of theirs, and what is suggested comes from the first that suggests anything.
    """
    by_row: dict[int, list[Finding]] = {}
    for finding in sorted(findings, key=lambda one: (-one.score, list(Problem).index(one.problem))):
        by_row.setdefault(finding.row, []).append(finding)
    rows = [
        (
            table["path"].iat[row],
            "; ".join(one.problem for one in found),
            round(found[0].score, 4),
            table["class"].iat[row],
            next((one.suggested for one in found if one.suggested), ""),
            "",
            "; ".join(one.detail for one in found),
        )
        for row, found in by_row.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_data_check(
    findings: Sequence[Finding],
    dataset: Dataset,
    info: Mapping[str, Any],
    folder: Path,
    notes: Sequence[str] = (),
    pictures: int = 48,
) -> pd.DataFrame:
    """Write page, CSV and counts in the place of an earlier check's; return the CSV's table.

    Parameters
    ----------
    info : of what did the check, JSON values
    notes : sentences for the head of the page
    pictures : shown of each problem, the most suspicious

    Raises
    ------
    DermaError
        When the CSV that is there has actions that were not applied, or a picture is damaged.
    """
    _refuse_to_lose_actions(folder / CSV_FILE, dataset)
    table = as_table(findings, dataset.table)
    counts = count_problems(findings)
    with replacing_own_folder(folder, SUMMARY_FILE) as scratch:
        table.to_csv(scratch / CSV_FILE, index=False)
        write_json({**info, "images": len(table), "problems": counts}, scratch / SUMMARY_FILE)
        write_page(
            scratch / PAGE_FILE,
            TEMPLATE,
            title=f"What may be wrong in {dataset.info.name}",
            notice=NOTICE,
            notes=notes,
            total=len(table),
            sections=_sections(findings, dataset, pictures),
            actions=[DROP, *(f"{RELABEL}{name}" for name in dataset.classes)],
            csv_file=CSV_FILE,
            columns=COLUMNS,
            rows=json.loads(table.to_json(orient="values")),
        )
    return table


def count_problems(findings: Sequence[Finding]) -> dict[str, int]:
    """Count the images with each problem."""
    return {
        str(problem): len({one.row for one in findings if one.problem is problem})
        for problem in Problem
    }


def problems_table(findings: Sequence[Finding], name: str) -> Table:
    """Tabulate how many images have each problem, and for how many something is suggested."""
    counts = count_problems(findings)
    suggested = count_problems([one for one in findings if one.suggested])
    return Table(
        f"What may be wrong in {name}",
        ("Problem", "Images", "With a suggestion"),
        tuple((name, f"{count:,}", f"{suggested[name]:,}") for name, count in counts.items()),
    )


def _outliers(judged: Judged) -> list[Finding]:
    return [
        Finding(
            int(row),
            Problem.OUTLIER,
            float(1 - 1 / judged.ood[row]),
            "",
            f"out-of-distribution score {judged.ood[row]:.2f}, where 1 is the limit",
        )
        for row in np.flatnonzero(judged.ood > 1)
    ]


def _refuse_to_lose_actions(path: Path, dataset: Dataset) -> None:
    if not path.is_file():
        return
    earlier = read_table(path)
    require_columns(path, earlier, ("path", "action"))
    filled = earlier[earlier["action"].str.strip() != ""]
    if waiting := len(set(filled["path"]) & set(dataset.table["path"])):
        raise DermaError(
            f"{path}: {counted(waiting, 'action')} filled in and not applied; run "
            f"'derma data apply {path}' first, or move the file away"
        )


def _sections(findings: Sequence[Finding], dataset: Dataset, pictures: int) -> list[dict[str, Any]]:
    """Return the problems that were found, each with its worst pictures."""
    found: dict[Problem, list[Finding]] = {problem: [] for problem in Problem}
    for one in sorted(findings, key=lambda one: -one.score):
        found[one.problem].append(one)
    shown = [one for of in found.values() for one in of[:pictures]]
    cards: dict[Problem, list[dict[str, Any]]] = {}
    for one in with_progress(shown, "Opening pictures"):
        image = dataset.table.iloc[one.row]
        card = {
            "finding": one,
            "path": image["path"],
            "image": image["image"],
            "label": image["class"],
            "split": image["split"],
            "picture": shrunk_picture(dataset.folder / str(image["path"]), PICTURE_WIDTH),
        }
        cards.setdefault(one.problem, []).append(card)
    return [
        {
            "problem": str(problem),
            "explanation": EXPLANATIONS[problem],
            "images": len(found[problem]),
            "cards": of,
        }
        for problem, of in cards.items()
    ]
