"""Does the map say what the model uses? Deletion and insertion in order of the evidence.

Petsiuk, Das and Saenko, RISE, BMVC 2018, section 4.3: pixels are taken away from a picture,
or put into an empty one, the strongest evidence first. If the map tells what the called class
rests on, its probability falls early with deletion and rises early with insertion.
"""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageFilter

from doctor_derma.audits.groups import ALL, Rows, by_class, group_means, interval_of, rows_by
from doctor_derma.audits.localisation import called_maps, centred_gaussian, resize_map
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import RESAMPLES
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.predictions import Predictions, open_picture
from doctor_derma.evaluation.tables import Table
from doctor_derma.images.decoding import fit_pixels
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import with_progress

PICTURES = 200
STEPS = 16
SHARES = np.linspace(0, 1, STEPS + 1)
FRAME_SHARE = 0.1
BLUR_SHARE = 0.1
CURVES = {
    "deletion": ("Deletion: lower is better", "% of the picture turned into plain skin"),
    "insertion": ("Insertion: higher is better", "% of the picture restored from a blur"),
}
ORDERS = {
    "model": ("activation map", style.MODEL_COLOURS[0], "-"),
    "gaussian": ("centred Gaussian", style.MODEL_COLOURS[1], (0, (5, 1.5))),
    "random": ("random map", style.MUTED, (0, (1.2, 1.2))),
}
DIFFERENCES = ("model minus gaussian", "model minus random")
# How far apart the two differences of a class are drawn, in rows.
BESIDE = 0.17


def measure_deletion(
    classifier: Classifier,
    predictions: Predictions,
    pictures: int = PICTURES,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Follow the called class's probability while pixels go or come in order of evidence.

    *Deletion* replaces pixels by the colour of the skin around the lesion, the median of the
    picture's outer frame: a blurred lesion would keep the colour, which a diagnosis rests on as
    much as on structure. *Insertion* starts from the blurred picture, as RISE does: pieces on a
    flat colour have sharp edges that a network takes for evidence. At each of ``STEPS`` steps the
    same share of the picture changes.

    The order is that of the ``model``'s map, stretched to the network's size, negative evidence
    last; of a centred ``gaussian``; and of a ``random`` map, drawn for each picture with the
    grain of the model's.

    Parameters
    ----------
    classifier : that made the predictions
    predictions : with activation maps and the paths of the pictures
    pictures : at most so many, one a lesion, drawn in turns from each true class
    resamples : of the bootstrap over lesions
    seed : of the choice of pictures, the random maps and the bootstrap

    Returns
    -------
    One row a value: ``class`` (the true one, or all), ``curve`` (deletion, insertion), ``order``
    (of ``ORDERS``, or of ``DIFFERENCES``, which are paired), ``figure`` (probability, or auc, the
    area under the curve), ``share`` of the pixels changed (nan for an auc), ``images``, and
    ``value`` with its 95% interval ``low``, ``high``

    Raises
    ------
    DermaError
        When ``pictures`` is below 1, the predictions hold no maps, or a picture can't be
        decoded.
    """
    rows = pick_pictures(predictions, pictures, seed)
    curves = _follow(classifier, predictions, rows, seed)
    areas = area_under(curves)
    # The model's area minus each of the others.
    areas = np.concatenate([areas, areas[..., :1] - areas[..., 1:]], axis=-1)
    values = np.concatenate([of.reshape(len(rows), -1) for of in (areas, curves)], axis=1)
    columns = [(*of, "auc", np.nan) for of in product(CURVES, (*ORDERS, *DIFFERENCES))]
    columns += [(*of, "probability", share) for *of, share in product(CURVES, ORDERS, SHARES)]
    frame = group_means(
        values,
        [dict(zip(("curve", "order", "figure", "share"), of, strict=True)) for of in columns],
        by_class(predictions.labels[rows], predictions.classes),
        predictions.lesions[rows],
        resamples,
        seed,
    )
    return frame.drop(columns="lesions")


def pick_pictures(predictions: Predictions, count: int, seed: int) -> np.ndarray:
    """Draw rows, one a lesion, in turns from each true class; return them sorted.

    A ``count`` below 1 raises `DermaError`.
    """
    if count < 1:
        raise DermaError(f"pictures: {count} is too few; use 1 or more, such as {PICTURES}")
    drawn = np.random.default_rng(seed).permutation(len(predictions.labels))
    _, first = np.unique(predictions.lesions[drawn], return_index=True)
    rows = drawn[np.sort(first)]
    turns = pd.Series(rows).groupby(predictions.labels[rows]).cumcount()
    return np.sort(rows[np.argsort(turns.to_numpy(), kind="stable")[:count]])


def area_under(curves: np.ndarray) -> np.ndarray:
    """Return the area under curves [..., STEPS + 1] over the shares, by trapezoids."""
    return (curves[..., 1:] + curves[..., :-1]).mean(axis=-1) / 2


def changing_pictures(start: np.ndarray, end: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Turn one picture into another, the pixels with most evidence first, ties in reading order.

    ``start`` and ``end`` are uint8 [height, width, 3], ``evidence`` is float [height, width];
    uint8 [STEPS + 1, height, width, 3] comes back, from ``start`` to ``end``.
    """
    rank = np.empty(evidence.size, dtype=np.int64)
    rank[np.argsort(-evidence, axis=None, kind="stable")] = np.arange(evidence.size)
    changed = rank < np.round(SHARES * evidence.size)[:, None]
    return np.where(changed.reshape(-1, *evidence.shape, 1), end, start)


def skin_picture(picture: np.ndarray) -> np.ndarray:
    """Return a picture [height, width, 3] of one colour, the median of the outer frame."""
    frame = np.ones(picture.shape[:2], dtype=bool)
    down, across = (max(1, round(FRAME_SHARE * side)) for side in picture.shape[:2])
    frame[down:-down, across:-across] = False
    return np.broadcast_to(np.median(picture[frame], axis=0).astype(np.uint8), picture.shape)


def blurred_picture(picture: np.ndarray) -> np.ndarray:
    """Blur a picture by a Gaussian with a standard deviation of a tenth of the longer side."""
    radius = BLUR_SHARE * max(picture.shape[:2])
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def _follow(
    classifier: Classifier, predictions: Predictions, rows: np.ndarray, seed: int
) -> np.ndarray:
    """Return the called class's probability, float64 [rows, curves, orders, STEPS + 1]."""
    maps, called = called_maps(predictions), predictions.predicted
    size = classifier.height, classifier.width
    generator = np.random.default_rng(seed)
    gaussian = centred_gaussian(*size)
    followed = np.empty((len(rows), len(CURVES), len(ORDERS), STEPS + 1))
    for place, row in enumerate(with_progress(rows, "Deletion and insertion")):
        picture = fit_pixels(open_picture(predictions.paths[row]), *size)
        changes = ((picture, skin_picture(picture)), (blurred_picture(picture), picture))
        chance = generator.normal(size=maps[row].shape)
        orders = (resize_map(maps[row], *size), gaussian, resize_map(chance, *size))
        for curve, (start, end) in enumerate(changes):
            for order, evidence in enumerate(orders):
                pixels = changing_pictures(start, end, evidence)
                probabilities, _ = classifier.predict_pixels(pixels)
                followed[place, curve, order] = probabilities[:, called[row]]
    return followed


def deletion_table(frame: pd.DataFrame) -> Table:
    """Tabulate the areas under both curves, and the paired differences."""
    areas = frame[(frame["class"] == ALL) & (frame["figure"] == "auc")]
    by_key, rows = rows_by(areas, "order", "curve"), []
    for order in (*ORDERS, *DIFFERENCES):
        found = [interval_of(by_key[order, curve]) for curve in CURVES]
        rows.append((order, *(of.signed if order in DIFFERENCES else str(of) for of in found)))
    return Table(
        f"Deletion and insertion on {areas['images'].iloc[0]:,} pictures (95% interval)",
        ("Order of the pixels", "Area, deletion ↓", "Area, insertion ↑"),
        tuple(rows),
        "Area under the called class's probability while the picture turns into plain skin "
        "(deletion) or comes back from a blur (insertion). Pictures drawn in turns from each "
        "true class, one a lesion. Intervals: percentile bootstrap over lesions.",
    )


def plot_deletion(frame: pd.DataFrame) -> Figure:
    """Draw the curves of `measure_deletion` with 95% bands, and differences in area by class."""
    classes = list(frame["class"].unique())
    figure = style.new_figure(10.4, 6.0 + 0.42 * len(classes))
    upper, lower = figure.subplots(2, 2, height_ratios=(4.2, 1 + 0.42 * len(classes)), sharey="row")
    for axes, below, curve in zip(upper, lower, CURVES, strict=True):
        of = frame[frame["curve"] == curve]
        areas = rows_by(of[of["figure"] == "auc"], "class", "order")
        _draw_curves(axes, of[(of["figure"] == "probability") & (of["class"] == ALL)], areas, curve)
        _draw_differences(below, areas, classes, curve)
    upper[0].set_ylabel("Mean probability of the called class", color=style.INK, fontsize=10)
    counts = frame.groupby("class")["images"].first()
    lower[0].set_yticks(range(len(classes)), [f"{c}\n{counts[c]:,} images" for c in classes])
    lower[0].set_ylim(len(classes) - 0.4, -0.6)
    style.legend_below(figure, lower[0], 2, "")
    return figure


def _draw_curves(axes: Axes, curves: pd.DataFrame, areas: Rows, curve: str) -> None:
    for order, (label, colour, dashes) in ORDERS.items():
        line = curves[curves["order"] == order]
        percent = 100 * line["share"]
        axes.fill_between(percent, line["low"], line["high"], color=colour, alpha=0.13, linewidth=0)
        label = f"{label}, area {interval_of(areas[ALL, order])}"
        axes.plot(percent, line["value"], color=colour, linestyle=dashes, linewidth=2, label=label)
    style.style_axes(axes, *CURVES[curve], "")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 1)
    look: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": style.INK}
    axes.legend(loc="upper right" if curve == "deletion" else "lower right", **look)


def _draw_differences(axes: Axes, areas: Rows, classes: list[str], curve: str) -> None:
    for difference, marker, shift in zip(DIFFERENCES, "Do", (-BESIDE, BESIDE), strict=True):
        baseline, colour, _ = ORDERS[difference.removeprefix("model minus ")]
        for row, name in enumerate(classes):
            interval = interval_of(areas[name, difference])
            if np.isfinite(interval.value):
                style.draw_interval(axes, row + shift, interval, colour, marker)
        axes.lines[-1].set(label=f"activation map minus {baseline}, 95% interval", linestyle="none")
    axes.axvline(0, color=style.INK, linewidth=1)
    better = "left" if curve == "deletion" else "right"
    style.style_axes(
        axes, "", f"Difference in area ({better} of 0: the activation map is better)", ""
    )
