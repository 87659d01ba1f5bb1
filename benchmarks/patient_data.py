"""Age, sex and site beside the picture: what they add on held-out folds and on left-out sources.

    python benchmarks/patient_data.py        # goes on where it was stopped

Eight picture networks, five without a fold and three without a source, learn from a few draws of
augmentation. Their first stages stay as ImageNet left them, so what those make of every draw is
computed once for all. Then small heads learn from the pooled features of the same training views,
with the patient's record beside them and without: same architecture, seed and batches, but the
record of the second is always withheld. Nothing here looks at the test split.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from torch import Tensor, nn

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
from doctor_derma.terminal import terminal
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.folds import parts_of
from doctor_derma.workspace import Workspace
from partly_frozen import (
    class_counts,
    frozen_views,
    learn,
    pooled_features,
    shown_views,
    split_network,
    train_stages,
)

FOLDS = 5
SOURCES = ("rosendahl", "vidir_modern", "vidir_molemax")
BATCH, EPOCHS, RATE, HIDDEN = 256, 15, 3e-3, 64
COMPONENTS = 64  # Of the features: beside all 1,280 of them the record is hardly learnt.
WITHHELD = 0.25  # Share of the records that training withholds, so that none is needed later.
HEADS = ("picture", "both", "both, record withheld", "record")
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


def known_sites(table: pd.DataFrame) -> list[str]:
    """Return the sites that some rows name, sorted."""
    return sorted(set(table["site"].dropna()) - {"unknown"})


def encode_records(table: pd.DataFrame, sites: list[str]) -> Tensor:
    """Return age, sex and site as numbers, float32 (n, 6 + sites).

    The columns are age in units of 20 years from 50, age unknown, female, male, sex unknown, each
    site, and site unknown. A site that is not among ``sites`` is unknown.
    """
    age = pd.to_numeric(table["age"], errors="coerce").to_numpy(dtype=float)
    columns = [np.where(np.isnan(age), 0, (age - 50) / 20), np.isnan(age)]
    for name, values in (("sex", ["female", "male"]), ("site", sites)):
        matches = [table[name].eq(value).to_numpy(dtype=bool) for value in values]
        columns += [*matches, ~np.any(matches, axis=0)]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def train_head(
    features: Tensor,
    records: Tensor,
    absent: Tensor,
    withheld: float,
    targets: Tensor,
    counts: Tensor,
    seed: int,
) -> nn.Module:
    """Train a head on features and records, of which a share is withheld at random.

    Equal seeds give equal first weights, batches and dropout, whatever the share.
    """
    torch.manual_seed(seed)
    width = features.shape[1] + records.shape[1]
    hidden = nn.Linear(width, HIDDEN), nn.ReLU(), nn.Dropout(0.2)
    head = nn.Sequential(*hidden, nn.Linear(HIDDEN, len(counts)))
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.01)
    batches = len(targets) // BATCH
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * batches)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(targets))[: batches * BATCH].split(BATCH):
            seen = torch.where(torch.rand(len(rows), 1) < withheld, absent, records[rows])
            logits = head(torch.cat([features[rows], seen], 1))
            learn(logits, targets[rows], counts, optimizer, schedule)
    return head.eval()


def network_features(
    part: Part, views: np.ndarray, labels: np.ndarray, shown: np.ndarray, chosen: argparse.Namespace
) -> tuple[Tensor, Tensor]:
    """Return a network's features of the views it has learnt from, and of what it is judged by.

    They are the principal components of the former, each of mean 0 and deviation 1. A network that
    was trained before is not trained again.
    """
    path = chosen.folder / f"{part.name}.npz"
    if not path.is_file():
        torch.manual_seed(0)
        tail, counts = split_network(chosen.freeze)[1], class_counts(labels[part.train])
        trained = train_stages(tail, views, labels, shown, counts, chosen.images)
        judged = np.stack([np.zeros_like(part.judged), part.judged], axis=1)
        graph = chosen.folder / "tail.onnx"
        features = [pooled_features(trained, views, of, graph) for of in (shown, judged)]
        with replacing_file(path) as scratch:
            np.savez(scratch, learnt=features[0], judged=features[1])
    with np.load(path) as kept:
        learnt, judged = (torch.from_numpy(kept[name]).float() for name in ("learnt", "judged"))
    torch.manual_seed(0)
    mean = learnt.mean(0)
    axes = torch.pca_lowrank(learnt - mean, COMPONENTS, center=False)[2]
    learnt, judged = (learnt - mean) @ axes, (judged - mean) @ axes
    deviation = learnt.std(0)
    return learnt / deviation, judged / deviation


def ask_heads(
    part: Part,
    dataset: Dataset,
    labels: np.ndarray,
    shown: np.ndarray,
    features: tuple[Tensor, Tensor],
    seeds: int,
) -> np.ndarray:
    """Return the probabilities of every kind of head and seed for the judged pictures.

    float64 (heads, seeds, judged, classes), the heads in the order of ``HEADS``
    """
    table, places = dataset.table, shown[:, 1]
    sites = known_sites(table.iloc[part.train])
    records = encode_records(table.iloc[places], sites)
    own = encode_records(table.iloc[part.judged], sites)
    nothing = pd.DataFrame({"age": [np.nan], "sex": [None], "site": [None]})
    absent = encode_records(nothing, sites)
    targets, counts = torch.from_numpy(labels[places]), class_counts(labels[part.train])
    learnt, seen = features
    no_picture, missing = seen[:, :0], absent.expand_as(own)
    said = np.empty((len(HEADS), seeds, len(own), len(counts)))
    for seed in range(seeds):
        rest = targets, counts, seed
        picture = train_head(learnt, records, absent, 1.0, *rest)
        both = train_head(learnt, records, absent, WITHHELD, *rest)
        record = train_head(learnt[:, :0], records, absent, 0.0, *rest)
        asked = (
            (picture, seen, missing),
            (both, seen, own),
            (both, seen, missing),
            (record, no_picture, own),
        )
        for at, (head, *question) in enumerate(asked):
            with torch.inference_mode():
                said[at, seed] = head(torch.cat(question, 1)).double().softmax(1).numpy()
    return said


def head_metrics(
    labels: np.ndarray, said: np.ndarray, classes: Sequence[str], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return metrics of every kind of head, and what they are more than the picture's.

    Parameters
    ----------
    said : probabilities (heads, seeds, n, classes); the metrics are means over the seeds
    weights : of the pictures, (resamples, n)

    Returns
    -------
    float64 (resamples,) for each ``head/metric`` and ``head - picture/metric``
    """
    found = {}
    for head, of in zip(HEADS, said, strict=True):
        by_seed = np.array([_metrics(labels, one, classes, weights) for one in of])
        found |= {
            f"{head}/{metric}": one for metric, one in zip(METRICS, by_seed.mean(0), strict=True)
        }
    for head in HEADS[1:]:
        for metric in METRICS:
            change = found[f"{head}/{metric}"] - found[f"{HEADS[0]}/{metric}"]
            found[f"{head} - {HEADS[0]}/{metric}"] = change
    return found


def _metrics(
    labels: np.ndarray, said: np.ndarray, classes: Sequence[str], weights: np.ndarray
) -> list[np.ndarray]:
    aucs = [weighted_auc(labels == k, said[:, k], weights) for k in np.unique(labels)]
    called = weighted_decision_metrics(labels, said.argmax(1), classes, weights)
    melanoma = classes.index(MELANOMA)
    scores = labels == melanoma, said[:, melanoma], weights
    return [
        called["balanced_accuracy"],
        np.nanmean(aucs, axis=0),
        weighted_sensitivity_at_specificity(*scores, SPECIFICITY),
    ]


def source_from_record(dataset: Dataset, folds: list[Part]) -> float:
    """Return how well the source is told from the record alone, out of fold: balanced accuracy."""
    table = dataset.table.iloc[np.concatenate([fold.judged for fold in folds])]
    fold = np.repeat(np.arange(len(folds)), [len(fold.judged) for fold in folds])
    records = encode_records(table, known_sites(table)).numpy()
    guess = LogisticRegression(class_weight="balanced", max_iter=1000)
    called = cross_val_predict(guess, records, table["source"], cv=PredefinedSplit(fold))
    return float(balanced_accuracy_score(table["source"], called))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("champion/patient_data"))
    parser.add_argument("--freeze", type=int, default=3, help="stages that stay as they are")
    parser.add_argument("--draws", type=int, default=2, help="of augmentation, of every picture")
    parser.add_argument("--images", type=int, default=10_000, help="shown to each network")
    parser.add_argument("--seeds", type=int, default=2, help="of the heads")
    chosen = parser.parse_args()
    chosen.folder /= f"freeze{chosen.freeze}-draws{chosen.draws}-images{chosen.images}"
    chosen.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    dataset = read_dataset(Workspace.find().data)
    labels = np.array(dataset.targets(dataset.table))
    views = frozen_views(dataset, chosen.freeze, chosen.draws, chosen.folder)
    parts, said = list(all_parts(dataset)), []
    for part in parts:
        shown = shown_views(labels, part.train, chosen.draws)
        features = network_features(part, views, labels, shown, chosen)
        said.append(ask_heads(part, dataset, labels, shown, features, chosen.seeds))
    judged = {"five folds": slice(FOLDS), "left-out sources": slice(FOLDS, None)}
    judged |= {f"{parts[at].name} left out": slice(at, at + 1) for at in range(FOLDS, len(parts))}
    for name, of in judged.items():
        rows = np.concatenate([part.judged for part in parts[of]])
        lesions = dataset.table["lesion"].to_numpy(dtype=str)[rows]
        answers = np.concatenate(said[of], axis=2)
        measure = partial(head_metrics, labels[rows], answers, dataset.classes)
        found = bootstrap(lesions, measure, RESAMPLES)
        table = Table("head", *METRICS, title=f"{name}: {len(rows):,} pictures")
        for head in dict.fromkeys(key.partition("/")[0] for key in found):
            values = (found[f"{head}/{metric}"] for metric in METRICS)
            table.add_row(head, *(v.signed if " - " in head else str(v) for v in values))
        terminal().print(table)
    guessed = source_from_record(dataset, parts[:FOLDS])
    terminal().print(f"Source from the record alone: balanced accuracy {guessed:.3f} of 4 sources")


if __name__ == "__main__":
    main()
