"""Does the map say what the model uses? Deletion and insertion in order of the evidence.

Petsiuk, Das and Saenko, RISE, BMVC 2018, section 4.3: pixels are taken away from a picture,
or put into an empty one, the strongest evidence first. If the map tells what the called class
rests on, its probability falls early with deletion and rises early with insertion.
"""

import numpy as np
import pandas as pd

from doctor_derma.audits.changing_pictures import (
    SHARES,
    STEPS,
    blurred_picture,
    changing_pictures,
    skin_picture,
)
from doctor_derma.audits.evidence_maps import called_maps, centred_gaussian, resize_map
from doctor_derma.audits.group_means import ALL, group_means, interval_at
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import RESAMPLES
from doctor_derma.evaluation.predictions import PixelClassifier, Predictions, open_picture
from doctor_derma.evaluation.tables import Table
from doctor_derma.images.decoding import fit_pixels
from doctor_derma.terminal import with_progress

PICTURES = 200
CURVES = ("deletion", "insertion")
ORDERS = ("model", "gaussian", "random")
DIFFERENCES = ("model minus gaussian", "model minus random")


def measure_deletion(
    classifier: PixelClassifier,
    predictions: Predictions,
    pictures: int = PICTURES,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Follow the called class's probability while pixels go or come in order of evidence.

    *Deletion* replaces pixels by the colour of the skin around the lesion, the median of the
    picture's outer frame: a blurred lesion would keep the colour, which a diagnosis rests on
    as much as on structure. *Insertion* starts from the blurred picture, as RISE does: pieces
    on a flat colour have sharp edges that a network takes for evidence. At each of ``STEPS``
    steps the same share of the picture changes.

    The order is that of the ``model``'s map, stretched to the network's size, with negative
    evidence last; of a centred ``gaussian``; and of a ``random`` map, drawn for each picture
    with as few places as the model's and stretched the same way, so that only the places
    differ and not the grain.

    Parameters
    ----------
    classifier : that made the predictions
    predictions : with activation maps and the paths of the pictures
    pictures : at most so many, one a lesion, drawn in turns from each true class
    resamples : of the bootstrap over lesions
    seed : of the choice of pictures, the random maps and the bootstrap

    Returns
    -------
    DataFrame, one row a figure: ``class`` (the true one, or all), ``curve`` (deletion,
    insertion), ``order`` (one of ``ORDERS``, or of ``DIFFERENCES``, which are paired),
    ``figure`` (probability or auc), ``share`` of the pixels changed (nan for an auc, the
    area under the curve over all shares), ``images``, and ``value`` with the limits ``low``
    and ``high`` of its 95% interval

    Raises
    ------
    DermaError
        When ``pictures`` is below 1, the predictions hold no maps, or a picture can't be
        decoded.
    """
    rows = pick_pictures(predictions, pictures, seed)
    curves = _follow(classifier, predictions, rows, seed)
    areas = _with_differences(area_under(curves))
    groups = {ALL: np.ones(len(rows), dtype=bool)}
    groups |= {name: predictions.labels[rows] == i for i, name in enumerate(predictions.classes)}
    means = group_means(
        np.concatenate([areas.reshape(len(rows), -1), curves.reshape(len(rows), -1)], axis=1),
        np.stack(list(groups.values())),
        predictions.lesions[rows],
        resamples,
        seed,
    )
    figures = [(curve, order, "auc", np.nan) for curve in CURVES for order in ORDERS + DIFFERENCES]
    figures += [
        (curve, order, "probability", share)
        for curve in CURVES
        for order in ORDERS
        for share in SHARES
    ]
    return pd.DataFrame(
        {
            "class": name,
            "curve": curve,
            "order": order,
            "figure": figure,
            "share": share,
            "images": int(members.sum()),
            "value": means.value[group, column],
            "low": means.low[group, column],
            "high": means.high[group, column],
        }
        for group, (name, members) in enumerate(groups.items())
        for column, (curve, order, figure, share) in enumerate(figures)
    )


def pick_pictures(predictions: Predictions, count: int, seed: int) -> np.ndarray:
    """Draw rows, one a lesion, in turns from each true class; return them sorted.

    Raises
    ------
    DermaError
        When ``count`` is below 1.
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


def deletion_table(frame: pd.DataFrame) -> Table:
    """Tabulate the areas under both curves, and the paired differences."""
    areas = frame[(frame["class"] == ALL) & (frame["figure"] == "auc")]
    indexed = areas.set_index(["curve", "order"])
    rows = [
        (order, *(str(interval_at(indexed, (curve, order))) for curve in CURVES))
        for order in ORDERS
    ]
    rows += [
        (order, *(interval_at(indexed, (curve, order)).signed for curve in CURVES))
        for order in DIFFERENCES
    ]
    return Table(
        f"Deletion and insertion on {areas['images'].iloc[0]:,} pictures (95% interval)",
        ("Order of the pixels", "Area, deletion ↓", "Area, insertion ↑"),
        tuple(rows),
        "Area under the called class's probability while the picture turns into plain skin "
        "(deletion) or comes back from a blur (insertion). Pictures drawn in turns from each "
        "true class, one a lesion. Intervals: percentile bootstrap over lesions.",
    )


def _follow(
    classifier: PixelClassifier, predictions: Predictions, rows: np.ndarray, seed: int
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


def _with_differences(areas: np.ndarray) -> np.ndarray:
    """Append the differences of ``DIFFERENCES`` to areas [n, curves, orders]."""
    model, gaussian, chance = np.moveaxis(areas, -1, 0)
    return np.stack([model, gaussian, chance, model - gaussian, model - chance], axis=-1)
