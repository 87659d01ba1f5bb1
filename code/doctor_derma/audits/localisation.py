"""Does the evidence for the called class lie on the lesion? Activation maps against masks."""

import numpy as np
import pandas as pd

from doctor_derma.audits.evidence_maps import called_maps, centred_gaussian, resize_map
from doctor_derma.audits.group_means import ALL, group_means, interval_at
from doctor_derma.data.manifest import Dataset
from doctor_derma.data.masks import read_mask
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import RESAMPLES
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table
from doctor_derma.terminal import with_progress

MEASURES = {"mass": "Evidence inside the lesion", "hit": "Strongest point inside the lesion"}
MODEL, GAUSSIAN, UNIFORM, MASK = "model", "gaussian", "uniform", "mask"
DIFFERENCE = "model minus gaussian"
MAPS = (MODEL, GAUSSIAN, UNIFORM, MASK, DIFFERENCE)
KEYS = ["class", "decision", "measure", "map"]
DECISIONS = (ALL, "right", "wrong")


def measure_localisation(
    predictions: Predictions,
    dataset: Dataset,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Hold the activation map of the called class against the lesion mask.

    Two measures of a map, stretched bilinearly to the mask's size and with negative
    evidence set to zero:

    - ``mass``: the share of its evidence inside the mask (the energy-based pointing game;
      Wang et al., Score-CAM, CVPR Workshops 2020).
    - ``hit``: whether its greatest value is inside the mask, without tolerance (the
      pointing game; Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV
      2016). Where several pixels share the greatest value, the share of them inside.

    A map without positive evidence points nowhere and counts as the uniform map.

    Four maps are measured: the ``model``'s; a centred ``gaussian``, which knows nothing but
    that lesions are in the middle; the ``uniform`` map, whose both measures are the mask's
    share of the picture; and the ``mask`` itself at the model's coarse resolution, which
    tells how much of the evidence a map so coarse can put inside the lesion.

    Parameters
    ----------
    predictions : with activation maps
    dataset : with lesion masks; pictures without one, or with an empty one, are left out
    resamples, seed : of the bootstrap over lesions

    Returns
    -------
    DataFrame, one row a figure: ``class`` (the true one, or all), ``decision`` (all, right,
    wrong), ``measure``, ``map`` (one of ``MAPS``, the last being a paired difference),
    ``images``, ``lesions``, and ``value`` from 0 to 1 with the limits ``low`` and ``high``
    of its 95% interval; nan where a group has no images

    Raises
    ------
    DermaError
        When the predictions hold no maps, or no picture has a mask.
    """
    rows, scores = _score_pictures(predictions, dataset)
    groups = _groups(predictions, rows)
    lesions = predictions.lesions[rows]
    means = group_means(scores, np.stack(list(groups.values())), lesions, resamples, seed)
    figures = [(measure, kind) for measure in MEASURES for kind in MAPS]
    return pd.DataFrame(
        {
            "class": name,
            "decision": decision,
            "measure": measure,
            "map": kind,
            "images": int(members.sum()),
            "lesions": len(np.unique(lesions[members])),
            "value": means.value[group, figure],
            "low": means.low[group, figure],
            "high": means.high[group, figure],
        }
        for group, ((name, decision), members) in enumerate(groups.items())
        for figure, (measure, kind) in enumerate(figures)
    )


def mass_inside(evidence: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's positive evidence inside a mask, both [height, width]."""
    positive = np.clip(evidence, 0, None)
    total = positive.sum(dtype=np.float64)
    if total == 0:
        return float(mask.mean())
    return float(positive[mask].sum(dtype=np.float64) / total)


def hit_inside(evidence: np.ndarray, mask: np.ndarray) -> float:
    """Return whether the greatest positive evidence is inside a mask, shared among ties."""
    positive = np.clip(evidence, 0, None)
    return float(mask[positive == positive.max()].mean())


def localisation_table(frame: pd.DataFrame) -> Table:
    """Tabulate both measures with their difference to the centred Gaussian."""
    indexed = frame.set_index(KEYS)
    images = indexed["images"].to_dict()
    rows = []
    for group, title in shown_groups(frame).items():
        cells = [title, f"{images[(*group, 'mass', MODEL)]:,}"]
        for measure in MEASURES:
            cells.append(str(interval_at(indexed, (*group, measure, MODEL))))
            cells.append(interval_at(indexed, (*group, measure, DIFFERENCE)).signed)
        rows.append(tuple(cells))
    return Table(
        "Activation maps against lesion masks (95% interval)",
        (
            "Pictures",
            "Images",
            "Evidence inside",
            "minus Gaussian",
            "Point inside",
            "minus Gaussian",
        ),
        tuple(rows),
        "Evidence inside: share of the called class's positive evidence that lies in the "
        "lesion. Point inside: share of pictures with the strongest evidence in it. Gaussian: "
        "the same of a map that always looks at the middle. Classes are the true ones. "
        "Intervals: percentile bootstrap over lesions.",
    )


def shown_groups(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Title the groups that table and plot show: overall, by decision and by class."""
    titles = {(ALL, ALL): "all", (ALL, "right"): "called rightly", (ALL, "wrong"): "called wrongly"}
    return titles | {(name, ALL): name for name in frame["class"].unique() if name != ALL}


def _score_pictures(predictions: Predictions, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the pictures with a mask, and their scores [rows, measures x maps]."""
    maps = called_maps(predictions)
    rows, scores = [], []
    images = with_progress(list(enumerate(predictions.images)), "Activation maps against masks")
    for row, image in images:
        mask = read_mask(dataset.folder, str(image))
        if mask is not None and mask.any():
            rows.append(row)
            scores.append(_scores(maps[row], mask))
    if not rows:
        raise DermaError(
            f"{dataset.folder}: no lesion mask of the {len(predictions.images)} pictures that "
            f"{predictions.name} was asked about; import the data set's masks first"
        )
    return np.array(rows), np.stack(scores)


def _scores(coarse: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Score every map of ``MAPS`` by every measure of ``MEASURES``."""
    height, width = mask.shape
    maps = (
        resize_map(coarse, height, width),
        centred_gaussian(height, width),
        np.ones(mask.shape),
        resize_map(resize_map(mask, *coarse.shape), height, width),
    )
    scores = []
    for measure in (mass_inside, hit_inside):
        model, gaussian, uniform, best = (measure(evidence, mask) for evidence in maps)
        scores += [model, gaussian, uniform, best, model - gaussian]
    return np.array(scores)


def _groups(predictions: Predictions, rows: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """Return the members of each class and decision among the rows, bool [rows]."""
    labels, correct = predictions.labels[rows], predictions.correct[rows]
    everything = np.ones(len(rows), dtype=bool)
    by_class = {ALL: everything}
    by_class |= {name: labels == index for index, name in enumerate(predictions.classes)}
    by_decision = dict(zip(DECISIONS, (everything, correct, ~correct), strict=True))
    return {
        (name, decision): of_class & of_decision
        for name, of_class in by_class.items()
        for decision, of_decision in by_decision.items()
    }
