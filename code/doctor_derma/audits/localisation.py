"""Does the evidence for the called class lie on the lesion? Activation maps against masks."""

from collections.abc import Hashable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from doctor_derma.audits.groups import ALL, by_class, group_means, interval_of, rows_by
from doctor_derma.data.manifest import Dataset
from doctor_derma.data.masks import read_mask
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import RESAMPLES
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.tables import Table
from doctor_derma.terminal import with_progress

MEASURES = {"mass": "Evidence inside the lesion", "hit": "Strongest point inside the lesion"}
UNITS = {
    "mass": "Share of the positive evidence for the called class",
    "hit": "Share of pictures (pointing game)",
}
MODEL, GAUSSIAN, UNIFORM, MASK = "model", "gaussian", "uniform", "mask"
DIFFERENCE = "model minus gaussian"
MAPS = (MODEL, GAUSSIAN, UNIFORM, MASK, DIFFERENCE)
KEYS = ["class", "decision", "measure", "map"]
DECISIONS = (ALL, "right", "wrong")
BASELINES = {
    GAUSSIAN: ("centred Gaussian", "D", "#d55e00"),
    UNIFORM: ("uniform map (the lesion's share of the picture)", "|", style.MUTED),
    MASK: ("the mask itself at the map's resolution", "^", "#009e73"),
}
# Of each side: most dermatoscopic pictures are framed so that the lesion is in the middle.
GAUSSIAN_SIGMA = 0.25


def measure_localisation(
    predictions: Predictions, dataset: Dataset, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Hold the activation map of the called class against the lesion mask.

    Two measures of a map, stretched bilinearly to the mask's size, without negative evidence:

    - ``mass``: the share of its evidence inside the mask (the energy-based pointing game;
      Wang et al., Score-CAM, CVPR Workshops 2020).
    - ``hit``: whether its greatest value is inside the mask, without tolerance (the pointing
      game; Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016); where
      several pixels have it, the share of them inside.

    A map without positive evidence points nowhere and counts as the uniform map.

    Four maps are measured: the ``model``'s; a centred ``gaussian``, which knows nothing but
    that lesions are in the middle; the ``uniform`` map, which gives the mask's share of the
    picture; and the ``mask`` itself, as well as a map so coarse can show it.

    Parameters
    ----------
    predictions : with activation maps
    dataset : with lesion masks; pictures without one, or with an empty one, are left out
    resamples : of the bootstrap over lesions

    Returns
    -------
    One row a value: ``class`` (the true one, or all), ``decision`` (all, right, wrong),
    ``measure``, ``map`` (of ``MAPS``, the last a paired difference), ``images``, ``lesions``, and
    ``value`` from 0 to 1 with its 95% interval ``low``, ``high``; nan without images

    Raises
    ------
    DermaError
        When the predictions hold no maps, or no picture has a mask.
    """
    rows, scores = _score_pictures(predictions, dataset)
    correct = predictions.correct[rows]
    decided = zip(DECISIONS, (correct | True, correct, ~correct), strict=True)
    classes = by_class(predictions.labels[rows], predictions.classes)
    groups = [
        (of | {"decision": decision}, of_class & of_decision)
        for (of, of_class), (decision, of_decision) in product(classes, decided)
    ]
    columns = [{"measure": measure, "map": kind} for measure, kind in product(MEASURES, MAPS)]
    frame = group_means(scores, columns, groups, predictions.lesions[rows], resamples)
    return frame[[*KEYS, "images", "lesions", "value", "low", "high"]]


def mass_inside(evidence: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's positive evidence inside a mask, both [height, width]."""
    positive = np.clip(evidence, 0, None)
    total = positive.sum(dtype=np.float64)
    return float(positive[mask].sum(dtype=np.float64) / total if total else mask.mean())


def hit_inside(evidence: np.ndarray, mask: np.ndarray) -> float:
    """Return whether the greatest positive evidence is inside a mask, shared among ties."""
    positive = np.clip(evidence, 0, None)
    return float(mask[positive == positive.max()].mean())


def called_maps(predictions: Predictions) -> np.ndarray:
    """Return each picture's map of its called class, float32 [n, h, w]; no maps: `DermaError`."""
    if predictions.activation_maps is None:
        raise DermaError(
            f"{predictions.name}: the predictions hold no activation maps; predict the split again"
        )
    rows = np.arange(len(predictions.labels))
    return predictions.activation_maps[rows, predictions.predicted]


def resize_map(coarse: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch a map over a whole picture bilinearly, float32 [height, width]."""
    image = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def centred_gaussian(height: int, width: int) -> np.ndarray:
    """Return the map of a model that always looks at the middle, float64 [height, width].

    Its standard deviation is a quarter of each side; its greatest value is about 1.
    """
    down, across = (
        np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / GAUSSIAN_SIGMA) ** 2)
        for side in (height, width)
    )
    return np.outer(down, across)


def localisation_table(frame: pd.DataFrame) -> Table:
    """Tabulate both measures with their difference to the centred Gaussian."""
    by_key, rows = rows_by(frame, *KEYS), []
    for group, title in _shown_groups(frame).items():
        cells = [title, f"{by_key[*group, 'mass', MODEL]['images']:,}"]
        for measure in MEASURES:
            cells.append(str(interval_of(by_key[*group, measure, MODEL])))
            cells.append(interval_of(by_key[*group, measure, DIFFERENCE]).signed)
        rows.append(tuple(cells))
    return Table(
        "Activation maps against lesion masks (95% interval)",
        (
            *("Pictures", "Images"),
            *("Evidence inside", "minus Gaussian", "Point inside", "minus Gaussian"),
        ),
        tuple(rows),
        "Evidence inside: share of the called class's positive evidence that lies in the "
        "lesion. Point inside: share of pictures with the strongest evidence in it. Gaussian: "
        "the same of a map that always looks at the middle. Classes are the true ones. "
        "Intervals: percentile bootstrap over lesions.",
    )


def plot_localisation(frame: pd.DataFrame) -> Figure:
    """Draw what `measure_localisation` returns, and write the difference to the Gaussian."""
    by_key, groups = rows_by(frame, *KEYS), _shown_groups(frame)
    figure = style.new_figure(11.6, 2.3 + 0.46 * len(groups))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        for row, group in enumerate(groups):
            _draw_group(axes, row, {kind: by_key[*group, measure, kind] for kind in MAPS})
        style.style_axes(axes, title, UNITS[measure], "")
        axes.set_xlim(-0.03, 1.03)
        axes.axhline(len(DECISIONS) - 0.5, color=style.GRID, linewidth=2)
        style.write_beside(axes, -0.75, "minus Gaussian")
    panels[0].set_ylim(len(groups) - 0.4, -0.9)
    images = [by_key[*group, "mass", MODEL]["images"] for group in groups]
    labels = [f"{of}\n{count:,} images" for of, count in zip(groups.values(), images, strict=True)]
    panels[0].set_yticks(range(len(groups)), labels)
    style.legend_below(figure, panels[0], 4, "")
    return figure


def _draw_group(axes: Axes, row: int, of: dict[str, dict[Hashable, Any]]) -> None:
    """Draw one measure of one group, from its row of each map."""
    model = interval_of(of[MODEL])
    if pd.isna(model.value):
        axes.text(0, row, "no pictures", color=style.MUTED, va="center", fontsize=9)
        return
    style.draw_interval(axes, row, model, style.MODEL_COLOURS[0])
    if row == 0:
        axes.lines[-1].set(label="activation map, with 95% interval", linestyle="none")
    for kind, (label, marker, colour) in BASELINES.items():
        [point] = axes.plot(of[kind]["value"], row, linestyle="none", marker=marker)
        point.set(markeredgecolor=colour, markeredgewidth=1.8, markerfacecolor="white")
        point.set_markersize(11 if marker == "|" else 6.5)
        if row == 0:
            point.set_label(label)
    style.write_beside(axes, row, interval_of(of[DIFFERENCE]).signed)


def _shown_groups(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Title the groups that table and plot show: overall, by decision and by class."""
    titles = {(ALL, ALL): "all", (ALL, "right"): "called rightly", (ALL, "wrong"): "called wrongly"}
    return titles | {(name, ALL): name for name in frame["class"].unique() if name != ALL}


def _score_pictures(predictions: Predictions, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the pictures with a mask, and their scores [rows, measures x maps]."""
    maps = called_maps(predictions)
    rows, scores = [], []
    images = with_progress(predictions.images, "Activation maps against masks")
    for row, image in enumerate(images):
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
    scores = np.array([[measure(of, mask) for of in maps] for measure in (mass_inside, hit_inside)])
    return np.hstack([scores, scores[:, :1] - scores[:, 1:2]]).ravel()
