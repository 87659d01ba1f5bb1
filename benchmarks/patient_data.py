"""Age, sex and site beside the picture: what they add on held-out folds and on left-out sources.

Eight picture networks, five without a fold and three without a source, learn from a few draws of
augmentation. Their first stages stay as ImageNet left them, so what those make of every draw is
computed once for all. The record is a linear term beside the logits, fitted to out-of-fold logits:
for a fold to those of the other folds, for a source to those of the other sources. Nothing here
looks at the test split. Called again, it goes on where it was stopped.

Takes about 45 minutes; needs imported data.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from typer import Option

from command import run, show
from doctor_derma.atomic import replacing_file
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.decisions import MELANOMA
from doctor_derma.evaluation.bootstrap import bootstrap
from doctor_derma.evaluation.metrics import (
    SPECIFICITY,
    weighted_auc,
    weighted_decision_metrics,
    weighted_sensitivity_at_specificity,
)
from doctor_derma.export.calibration import calibrate
from doctor_derma.export.patient import fit_weights, known_sites, patients_of
from doctor_derma.inference.patient import encode_patients
from doctor_derma.terminal import terminal
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.folds import parts_of
from doctor_derma.workspace import Workspace
from partly_frozen import (
    class_counts,
    frozen_views,
    network_logits,
    shown_views,
    split_network,
    train_stages,
)

FOLDS = 5
SOURCES = ("rosendahl", "vidir_modern", "vidir_molemax")
KINDS = ("picture", "both", "record")
METRICS = ("balanced accuracy", "macro AUC", "melanoma sensitivity at 90% specificity")
RESAMPLES = 300


@dataclass(frozen=True, eq=False)
class Part:
    """What one network learns from and is judged by, as places in the manifest."""

    name: str
    train: np.ndarray
    judged: np.ndarray


def all_parts(dataset: Dataset) -> Iterator[Part]:
    """Yield the five folds and the three left-out sources."""
    for fold in range(FOLDS):
        found = parts_of(dataset, TrainConfig(folds=FOLDS, fold=fold))
        yield Part(f"fold {fold}", found.train, found.judged)
    for source in SOURCES:
        found = parts_of(dataset, TrainConfig(leave_source_out=source))
        yield Part(source, np.concatenate([found.train, found.val]), found.judged)


def ask(
    logits: np.ndarray,
    table: pd.DataFrame,
    labels: np.ndarray,
    learnt: np.ndarray,
    judged: np.ndarray,
) -> np.ndarray:
    """Return what every one of ``KINDS`` says of the judged pictures, fitted to other ones.

    Parameters
    ----------
    logits : of networks that have not seen the pictures, (n, classes)
    learnt, judged : rows of the other arguments

    Returns
    -------
    log-probabilities where all classes are equally common, float64 (kinds, judged, classes)
    """
    counts = np.bincount(labels[learnt])
    patients = patients_of(table)
    columns = encode_patients(patients, known_sites([patients[row] for row in learnt]))
    fitted = calibrate(logits[learnt], labels[learnt], counts, balanced=True, prior_weight=1.0)
    picture = logits / fitted.temperature
    nothing = np.zeros_like(picture)
    said = [picture]
    for scores, offsets in ((picture, fitted.offsets), (nothing, np.log(counts / counts.sum()))):
        probabilities = softmax(scores[learnt] + offsets, axis=1)
        weights = fit_weights(probabilities, columns[learnt], labels[learnt])
        said.append(scores + columns @ weights)
    return np.stack([log_softmax(scores[judged], axis=1) for scores in said])


def out_of_part_logits(
    part: Part,
    views: np.ndarray,
    labels: np.ndarray,
    folder: Path,
    freeze: int,
    draws: int,
    images: int,
) -> np.ndarray:
    """Return a network's logits of the pictures that it is judged by, (n, classes).

    A network that was trained before is not trained again.
    """
    path = folder / f"{part.name}.npy"
    if not path.is_file():
        torch.manual_seed(0)
        tail, counts = split_network(freeze)[1], class_counts(labels[part.train])
        shown = shown_views(labels, part.train, draws)
        network = train_stages(tail, views, labels, shown, counts, images)
        judged = np.stack([np.zeros_like(part.judged), part.judged], axis=1)
        found = network_logits(network, views, judged, path.with_suffix(".onnx"))
        with replacing_file(path) as scratch, scratch.open("wb") as file:
            np.save(file, found)
    return np.load(path).astype(float)


def metrics_of(
    labels: np.ndarray, said: np.ndarray, classes: Sequence[str], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the metrics of each of ``KINDS``, and what they are more than the picture's.

    Parameters
    ----------
    said : log-probabilities (kinds, n, classes)
    weights : of the pictures, (resamples, n)

    Returns
    -------
    float64 (resamples,) for each ``kind/metric`` and ``kind - picture/metric``
    """
    melanoma = classes.index(MELANOMA)
    found = {}
    for kind, scores in zip(KINDS, said, strict=True):
        called = weighted_decision_metrics(labels, scores.argmax(1), classes, weights)
        aucs = [weighted_auc(labels == k, scores[:, k], weights) for k in np.unique(labels)]
        of_melanoma = labels == melanoma, scores[:, melanoma], weights
        values = (
            called["balanced_accuracy"],
            np.nanmean(aucs, axis=0),
            weighted_sensitivity_at_specificity(*of_melanoma, SPECIFICITY),
        )
        found |= {f"{kind}/{name}": value for name, value in zip(METRICS, values, strict=True)}
    for kind in KINDS[1:]:
        for name in METRICS:
            change = found[f"{kind}/{name}"] - found[f"{KINDS[0]}/{name}"]
            found[f"{kind} - {KINDS[0]}/{name}"] = change
    return found


def source_from_record(dataset: Dataset, folds: list[Part]) -> float:
    """Return how well the source is told from the record alone, out of fold: balanced accuracy."""
    table = dataset.table.iloc[np.concatenate([fold.judged for fold in folds])]
    fold = np.repeat(np.arange(len(folds)), [len(fold.judged) for fold in folds])
    patients = patients_of(table)
    records = encode_patients(patients, known_sites(patients))
    guess = LogisticRegression(class_weight="balanced", max_iter=1000)
    called = cross_val_predict(guess, records, table["source"], cv=PredefinedSplit(fold))
    return float(balanced_accuracy_score(table["source"], called))


def main(
    folder: Path = Path("champion/patient_data"),
    freeze: Annotated[int, Option(help="stages that stay as they are")] = 3,
    draws: Annotated[int, Option(help="of augmentation, of every picture")] = 2,
    images: Annotated[int, Option(help="shown to each network")] = 10_000,
) -> None:
    folder /= f"freeze{freeze}-draws{draws}-images{images}"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    dataset = read_dataset(Workspace.find().data)
    labels, table = np.array(dataset.targets(dataset.table)), dataset.table
    views = frozen_views(dataset, freeze, draws, folder)
    budget = views, labels, folder, freeze, draws, images
    parts, said = list(all_parts(dataset)), []
    out_of_fold = np.full((len(labels), len(dataset.classes)), np.nan)
    for part in parts[:FOLDS]:
        out_of_fold[part.judged] = out_of_part_logits(part, *budget)
    for at, part in enumerate(parts):
        logits, learnt = out_of_fold.copy(), np.isfinite(out_of_fold[:, 0])
        if at >= FOLDS:
            # A lesion may have pictures of two sources: neither network nor term has seen them.
            logits[part.judged] = out_of_part_logits(part, *budget)
            learnt[:] = False
            learnt[part.train] = True
        learnt[part.judged] = False
        said.append(ask(logits, table, labels, np.flatnonzero(learnt), part.judged))
    judged = {"five folds": slice(FOLDS), "left-out sources": slice(FOLDS, None)}
    judged |= {f"{parts[at].name} left out": slice(at, at + 1) for at in range(FOLDS, len(parts))}
    for name, of in judged.items():
        rows = np.concatenate([part.judged for part in parts[of]])
        lesions = table["lesion"].to_numpy(dtype=str)[rows]
        answers = np.concatenate(said[of], axis=1)
        measure = partial(metrics_of, labels[rows], answers, dataset.classes)
        found = bootstrap(lesions, measure, RESAMPLES)
        shown = []
        for kind in dict.fromkeys(key.partition("/")[0] for key in found):
            values = (found[f"{kind}/{metric}"] for metric in METRICS)
            shown.append((kind, *(v.signed if " - " in kind else v for v in values)))
        show(f"{name}: {len(rows):,} pictures", ("from", *METRICS), shown)
    guessed = source_from_record(dataset, parts[:FOLDS])
    terminal().print(f"Source from the record alone: balanced accuracy {guessed:.3f} of 4 sources")


if __name__ == "__main__":
    run(main)
