"""Plain, SE and ECA networks from the same ImageNet weights, on the same five folds.

    python code/champion.py pack && python code/champion.py folds --images 30000 --recipe mild
    python benchmarks/attention.py

Every image of training and validation is predicted by the network that has not seen its fold. The
differences are paired: the same lesions are resampled for all three. Nothing here looks at the test
split.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from scipy.special import softmax

from doctor_derma.evaluation.bootstrap import chunk_sizes, lesion_weights
from doctor_derma.evaluation.cost import count_size
from doctor_derma.evaluation.metrics import weighted_auc
from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.terminal import terminal

ATTENTIONS = {"none": "", "SE": "se_", "ECA": "eca_"}
BACKBONE = "efficientnet_lite0"
FOLDS = 5
SIZE = (144, 192)
RESAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("champion"))
    folder = parser.parse_args().folder
    table = pd.read_csv(folder / "images.csv", keep_default_na=False)
    classes = sorted(table["class"].unique())
    known = (table["split"] != "test").to_numpy()
    labels = np.array([classes.index(name) for name in table["class"]])[known]
    lesions = table["lesion"].to_numpy(dtype=str)[known]
    weights = np.concatenate(
        [
            np.ones((1, len(labels))),
            *lesion_weights(lesions, chunk_sizes(RESAMPLES, len(labels)), seed=0),
        ]
    )
    scores = {
        name: measure(out_of_fold(folder, prefix, len(table), len(classes))[known], labels, weights)
        for name, prefix in ATTENTIONS.items()
    }
    shown = Table(title=f"{BACKBONE}, {len(labels):,} out-of-fold images, {FOLDS} folds")
    for column in ("attention", "balanced accuracy", "macro AUC", "parameters", "MACs", "images/s"):
        shown.add_column(column)
    for name, prefix in ATTENTIONS.items():
        network = create_network(f"{prefix}{BACKBONE}", len(classes)).eval()
        parameters, operations = count_size(f"{prefix}{BACKBONE}", len(classes), *SIZE)
        balanced, auc = scores[name]
        shown.add_row(
            name,
            interval(balanced),
            interval(auc),
            f"{parameters:,}",
            f"{operations / 1e6:.0f} M",
            f"{speed(network):.0f}",
        )
    terminal().print(shown)
    for name, base in (("SE", "none"), ("ECA", "none"), ("SE", "ECA")):
        balanced, auc = (scores[name][k] - scores[base][k] for k in (0, 1))
        terminal().print(
            f"{name} - {base}: balanced accuracy {interval(balanced)}, AUC {interval(auc)}"
        )


def out_of_fold(folder: Path, prefix: str, images: int, classes: int) -> np.ndarray:
    """Return each image's logits by the network that has not seen it, float [images, classes]."""
    logits = np.full((images, classes), np.nan)
    for fold in range(FOLDS):
        found = np.load(folder / f"{prefix}fold{fold}.npz")
        unseen = ~found["trained_on"]
        logits[unseen] = found["logits"][0][unseen]
    return logits


def measure(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return balanced accuracy and macro AUC under each row of weights; the first are all one."""
    right = logits.argmax(1) == labels
    members = [labels == k for k in range(logits.shape[1])]
    recalls = [weights[:, of & right].sum(1) / weights[:, of].sum(1) for of in members]
    probabilities = softmax(logits, axis=1)
    aucs = [weighted_auc(of, probabilities[:, k], weights) for k, of in enumerate(members)]
    return np.mean(recalls, axis=0), np.mean(aucs, axis=0)


def interval(values: np.ndarray) -> str:
    """Write the first value with the 95% interval of the others."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:.3f} ({low:.3f} to {high:.3f})"


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
    main()
