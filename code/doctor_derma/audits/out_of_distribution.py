"""Does a model notice that a picture is not dermatoscopic?"""

from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from doctor_derma.audits.groups import interval_of
from doctor_derma.audits.ood_pictures import CHANGED, DRAWN, draw_pictures
from doctor_derma.evaluation.bootstrap import RESAMPLES, Interval, bootstrap
from doctor_derma.evaluation.metrics import weighted_auc
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.predictions import Predictions, open_picture
from doctor_derma.evaluation.tables import Table
from doctor_derma.images.decoding import fit_pixels
from doctor_derma.inference.classifier import Classifier
from doctor_derma.terminal import with_progress

OWN = "data set"
ALL = "all of these"
_BATCH = 64


def score_pictures(
    classifier: Classifier, predictions: Predictions, each: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Score pictures that are not dermatoscopic, beside those of the data set.

    Parameters
    ----------
    predictions : with the scores and paths of the data set's pictures
    each : pictures of each kind of ``DRAWN`` and ``CHANGED``; the changed ones are made from
        pictures of the data set, one a lesion
    seed : of what is drawn and chosen

    Returns
    -------
    One row a picture: ``kind`` (``data set`` for its own), ``lesion``, ``unfamiliarity``

    Raises
    ------
    DermaError
        When a picture path is unknown or a picture can't be decoded.
    """
    own = pd.DataFrame({"kind": OWN, "lesion": predictions.lesions})
    total = each * (len(DRAWN) + len(CHANGED))
    steps = iter(with_progress(_made(predictions, each, seed), "Scoring pictures", total))
    rows, scores = [], [np.asarray(predictions.ood)]
    while batch := list(islice(steps, _BATCH)):
        rows += [(kind, lesion) for kind, lesion, _ in batch]
        pixels = [fit_pixels(picture, classifier.height, classifier.width) for *_, picture in batch]
        scores.append(classifier.unfamiliarity(np.stack(pixels)))
    made = pd.DataFrame(rows, columns=["kind", "lesion"])
    frame = pd.concat([own, made], ignore_index=True)
    return frame.assign(unfamiliarity=np.concatenate(scores).astype(float))


def measure_ood(scores: pd.DataFrame, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Sum up the scores of each kind.

    Parameters
    ----------
    scores : of ``score_pictures``
    resamples : of the bootstrap over lesions and drawn pictures

    Returns
    -------
    One row a kind: ``pictures``; ``flagged``, the share over 1; ``auroc`` of telling the kind
    from the data set's pictures, nan for those, with ``low`` and ``high``
    """
    kind, rows = scores["kind"], []
    for name in [OWN, ALL, *kind[kind != OWN].unique()]:
        of = kind != OWN if name == ALL else kind == name
        auroc = Interval(np.nan, np.nan, np.nan)
        if name != OWN:
            auroc = _auroc(scores[of | (kind == OWN)], resamples)
        flagged = float((scores["unfamiliarity"][of] > 1).mean())
        rows.append([name, int(of.sum()), flagged, auroc.value, auroc.low, auroc.high])
    return pd.DataFrame(rows, columns=["kind", "pictures", "flagged", "auroc", "low", "high"])


def ood_table(frame: pd.DataFrame) -> Table:
    """Tabulate what ``measure_ood`` returns."""
    rows = []
    for row in frame.to_dict("records"):
        auroc = "" if np.isnan(row["auroc"]) else str(_auroc_of(row))
        rows.append((row["kind"], f"{row['pictures']:,}", f"{row['flagged']:.1%}", auroc))
    return Table(
        "Pictures that are not dermatoscopic",
        ("Pictures", "Number", "Called out of distribution", "AUROC against the data set"),
        tuple(rows),
        "Called out of distribution: over the threshold that 95% of images which "
        "training has not seen are under. Intervals: 95%, percentile bootstrap over lesions and "
        "pictures.",
    )


def plot_ood(scores: pd.DataFrame, frame: pd.DataFrame) -> Figure:
    """Draw every score of `score_pictures`, one row a kind of `measure_ood`, and the threshold."""
    kinds = frame[frame["kind"] != ALL]
    figure = style.new_figure(10.4, 1.8 + 0.42 * len(kinds))
    axes = figure.subplots()
    generator = np.random.default_rng(0)
    for row, of in enumerate(kinds.to_dict("records")):
        found = scores.loc[scores["kind"] == of["kind"], "unfamiliarity"].to_numpy()
        spread = row + generator.uniform(-0.28, 0.28, len(found))
        own = of["kind"] == OWN
        axes.plot(found, spread, ".", markersize=3, alpha=0.35, color=style.MODEL_COLOURS[not own])
        auroc = "" if own else f"\nAUROC {_auroc_of(of)}"
        style.write_beside(axes, row, f"{of['flagged']:.0%} over 1{auroc}")
    axes.axvline(1, color=style.INK, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    unit = "Out-of-distribution score (1: 95% of the validation images are under it)"
    style.style_axes(axes, "How unlike the training images (AUROC with 95% interval)", unit, "")
    labels = [f"{of.kind}\n{of.pictures:,} pictures" for of in kinds.itertuples()]
    axes.set_yticks(range(len(kinds)), labels)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    return figure


def plot_ood_pictures(columns: int = 6) -> Figure:
    """Draw some pictures of each drawn kind."""
    figure = style.new_figure(1.7 * columns + 0.9, 1.32 * len(DRAWN))
    grid = figure.subplots(len(DRAWN), columns)
    for row, kind in enumerate(DRAWN):
        for axes, picture in zip(grid[row], draw_pictures(kind, columns, seed=0), strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
        grid[row][0].set_ylabel(kind, color=style.INK, fontsize=10)
    return figure


def _auroc_of(row: Mapping[Hashable, Any]) -> Interval:
    return interval_of({**row, "value": row["auroc"]})


def _auroc(scores: pd.DataFrame, resamples: int) -> Interval:
    auroc = partial(
        weighted_auc, (scores["kind"] != OWN).to_numpy(), scores["unfamiliarity"].to_numpy()
    )
    lesions = (scores["kind"] + scores["lesion"]).to_numpy(dtype=str)
    return bootstrap(lesions, lambda weights: {"": auroc(weights)}, resamples)[""]


def _made(predictions: Predictions, each: int, seed: int) -> Iterator[tuple[str, str, Image.Image]]:
    for kind in DRAWN:
        for number, picture in enumerate(draw_pictures(kind, each, seed)):
            yield kind, f"{kind} {number}", picture
    first = np.unique(predictions.lesions, return_index=True)[1]
    chosen = np.random.default_rng(seed).permutation(first)[:each]
    for kind, change in CHANGED.items():
        for row in chosen:
            picture = open_picture(Path(predictions.paths[row]))
            yield kind, str(predictions.lesions[row]), change(picture)
