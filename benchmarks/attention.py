"""Plain, SE and ECA networks from the same ImageNet weights, on the same five folds.

    python code/champion pack && python code/champion folds

Every image of training and validation is predicted by the network that has not seen its fold. The
differences are paired: the same lesions are resampled for all three. Nothing here looks at the test
split.

Takes a few minutes; needs code/champion pack and folds before it.
"""

import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax

from command import run, show
from doctor_derma.evaluation.bootstrap import percentile_interval, resampled
from doctor_derma.evaluation.cost import count_size
from doctor_derma.evaluation.metrics import weighted_auc
from doctor_derma.models.networks import LesionNetwork, create_network

ATTENTIONS = {"none": "", "SE": "se_", "ECA": "eca_"}
BACKBONE = "efficientnet_lite0"
FOLDS = 5
SIZE = (144, 192)
METRICS = ("balanced accuracy", "macro AUC")
RESAMPLES = 1000


def main(folder: Path = Path("champion")) -> None:
    table = pd.read_csv(folder / "images.csv", keep_default_na=False)
    classes = sorted(table["class"].unique())
    known = (table["split"] != "test").to_numpy()
    labels = np.array([classes.index(name) for name in table["class"]])[known]
    lesions = table["lesion"].to_numpy(dtype=str)[known]
    measures = [
        partial(measure, out_of_fold(folder, prefix, len(table), len(classes))[known], labels)
        for prefix in ATTENTIONS.values()
    ]
    found = resampled(lesions, measures, RESAMPLES, seed=0)
    scores = dict(zip(ATTENTIONS, found, strict=True))
    rows = []
    for name, prefix in ATTENTIONS.items():
        network = create_network(f"{prefix}{BACKBONE}", len(classes)).eval()
        parameters, operations = count_size(f"{prefix}{BACKBONE}", len(classes), *SIZE)
        reached = (percentile_interval(scores[name][k]) for k in METRICS)
        costs = f"{parameters:,}", f"{operations / 1e6:.0f} M", f"{speed(network):.0f}"
        rows.append((name, *reached, *costs))
    title = f"{BACKBONE}, {len(labels):,} out-of-fold images, {FOLDS} folds"
    show(title, ("attention", *METRICS, "parameters", "MACs", "images/s"), rows)
    changes = [
        (
            f"{name} - {base}",
            *(percentile_interval(scores[name][k] - scores[base][k]).signed for k in METRICS),
        )
        for name, base in (("SE", "none"), ("ECA", "none"), ("SE", "ECA"))
    ]
    show("Differences", ("", *METRICS), changes)


def out_of_fold(folder: Path, prefix: str, images: int, classes: int) -> np.ndarray:
    """Return each image's logits by the network that has not seen it, float [images, classes]."""
    logits = np.full((images, classes), np.nan)
    for fold in range(FOLDS):
        found = np.load(folder / f"{prefix}fold{fold}.npz")
        unseen = ~found["trained_on"]
        logits[unseen] = found["logits"][0][unseen]
    return logits


def measure(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return each of ``METRICS`` under each row of weights."""
    right = logits.argmax(1) == labels
    members = [labels == k for k in range(logits.shape[1])]
    recalls = [weights[:, of & right].sum(1) / weights[:, of].sum(1) for of in members]
    probabilities = softmax(logits, axis=1)
    aucs = [weighted_auc(of, probabilities[:, k], weights) for k, of in enumerate(members)]
    values = np.mean(recalls, axis=0), np.mean(aucs, axis=0)
    return dict(zip(METRICS, values, strict=True))


def speed(network: LesionNetwork, batches: int = 8) -> float:
    """Return images a second of inference, one thread, batches of 32."""
    torch.set_num_threads(1)
    images = torch.zeros(32, 3, *SIZE).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        network.to(memory_format=torch.channels_last)(images)
        started = time.perf_counter()
        for _ in range(batches):
            network(images)
    return 32 * batches / (time.perf_counter() - started)


if __name__ == "__main__":
    run(main)
