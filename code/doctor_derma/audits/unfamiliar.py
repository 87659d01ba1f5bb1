"""Does a model notice that a picture is not dermatoscopic?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from PIL import Image

from doctor_derma.audits.unfamiliar_pictures import CHANGED, DRAWN, draw_unfamiliar
from doctor_derma.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    chunk_sizes,
    lesion_weights,
    percentile_interval,
)
from doctor_derma.evaluation.metrics import weighted_auc
from doctor_derma.evaluation.predictions import Predictions, open_picture
from doctor_derma.evaluation.tables import Table
from doctor_derma.images.decoding import fit_pixels
from doctor_derma.terminal import with_progress

FAMILIAR = "data set"
ALL = "all of these"
_BATCH = 64


class UnfamiliarityScorer(Protocol):
    """A model that says how unlike its training images a picture is."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def unfamiliarity(self, pixels: np.ndarray) -> np.ndarray:
        """Take uint8 RGB [n, height, width, 3]; return float [n], over 1 for unfamiliar."""
        ...


def score_unfamiliar(
    scorer: UnfamiliarityScorer, predictions: Predictions, each: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Score the pictures of the data set, and pictures that are not dermatoscopic.

    Parameters
    ----------
    predictions : gives the paths of the data set's pictures
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
    own = zip(predictions.lesions, predictions.paths, strict=True)
    pictures = ((FAMILIAR, str(lesion), open_picture(Path(path))) for lesion, path in own)
    made = _made(predictions, each, seed)
    rows: list[tuple[str, str]] = []
    scores: list[np.ndarray] = []
    batch: list[np.ndarray] = []
    total = len(predictions.paths) + each * (len(DRAWN) + len(CHANGED))
    for kind, lesion, picture in with_progress(
        (row for source in (pictures, made) for row in source), "Scoring pictures", total
    ):
        rows.append((kind, lesion))
        batch.append(fit_pixels(picture, scorer.height, scorer.width))
        if len(batch) == _BATCH:
            scores.append(scorer.unfamiliarity(np.stack(batch)))
            batch.clear()
    if batch:
        scores.append(scorer.unfamiliarity(np.stack(batch)))
    frame = pd.DataFrame(rows, columns=["kind", "lesion"])
    return frame.assign(unfamiliarity=np.concatenate(scores).astype(float))


def measure_unfamiliar(
    scores: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Sum up the scores of each kind.

    Parameters
    ----------
    scores : of ``score_unfamiliar``
    resamples, seed : of the bootstrap over lesions and drawn pictures

    Returns
    -------
    One row a kind: ``pictures``; ``flagged``, the share over 1; ``auroc`` of telling the kind
    from the data set's pictures, nan for those, with ``low`` and ``high``
    """
    kind = scores["kind"].to_numpy()
    values = scores["unfamiliarity"].to_numpy()
    rows = []
    for name in [FAMILIAR, ALL, *dict.fromkeys(kind[kind != FAMILIAR])]:
        of = kind == name if name != ALL else kind != FAMILIAR
        auroc = Interval(np.nan, np.nan, np.nan)
        if name != FAMILIAR:
            auroc = _auroc(scores[of | (kind == FAMILIAR)], resamples, seed)
        rows.append(
            {
                "kind": name,
                "pictures": int(of.sum()),
                "flagged": float((values[of] > 1).mean()),
                "auroc": auroc.value,
                "low": auroc.low,
                "high": auroc.high,
            }
        )
    return pd.DataFrame(rows)


def unfamiliar_table(frame: pd.DataFrame) -> Table:
    """Tabulate what ``measure_unfamiliar`` returns."""
    rows = (
        (
            row["kind"],
            f"{row['pictures']:,}",
            f"{row['flagged']:.1%}",
            "" if np.isnan(row["auroc"]) else str(Interval(row["auroc"], row["low"], row["high"])),
        )
        for row in frame.to_dict("records")
    )
    return Table(
        "Pictures that are not dermatoscopic",
        ("Pictures", "Number", "Called unfamiliar", "AUROC against the data set"),
        tuple(rows),
        "Called unfamiliar: over the threshold that 95% of the validation images are under. "
        "Intervals: 95%, percentile bootstrap over lesions and pictures.",
    )


def _auroc(scores: pd.DataFrame, resamples: int, seed: int) -> Interval:
    positive = (scores["kind"] != FAMILIAR).to_numpy()
    values = scores["unfamiliarity"].to_numpy()
    lesions = (scores["kind"] + scores["lesion"]).to_numpy(dtype=str)
    weights = lesion_weights(lesions, chunk_sizes(resamples, len(lesions)), seed)
    draws = np.concatenate([weighted_auc(positive, values, chunk) for chunk in weights])
    value = weighted_auc(positive, values, np.ones((1, len(values))))[0]
    return percentile_interval(float(value), draws)


def _made(predictions: Predictions, each: int, seed: int) -> Iterator[tuple[str, str, Image.Image]]:
    for kind in DRAWN:
        for number, picture in enumerate(draw_unfamiliar(kind, each, seed)):
            yield kind, f"{kind} {number}", picture
    first = np.unique(predictions.lesions, return_index=True)[1]
    chosen = np.random.default_rng(seed).permutation(first)[:each]
    for kind, change in CHANGED.items():
        for row in chosen:
            picture = open_picture(Path(predictions.paths[row]))
            yield kind, str(predictions.lesions[row]), change(picture)
