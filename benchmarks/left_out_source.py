"""What a network does on a source that it has never seen, against networks that have.

    python code/champion.py pack && python code/champion.py search --images 50000
    python code/champion.py folds --images 30000 --recipe mild
    python benchmarks/left_out_source.py

The networks of the search leave out one source each. Their images of it are judged, without those
of the test split; beside them stand the fold networks, each on the same images that it has not seen
but whose source it has. How many pictures of the new source are called out of distribution is
measured with the threshold that 95% of the known sources' validation images are within.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from sklearn.metrics import recall_score

from doctor_derma.export.ood import fit_distance, ood_threshold
from doctor_derma.export.out_of_fold import network_outputs
from doctor_derma.models.networks import create_network
from doctor_derma.terminal import terminal

MODEL = "eca_efficientnet_lite0"
FOLDS = 5
LEAST_IMAGES = 21  # Of a class that is counted.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("champion"))
    parser.add_argument("--images", type=int, default=800, help="of each kind, for the distances")
    chosen = parser.parse_args()
    folder = chosen.folder
    table = pd.read_csv(folder / "images.csv", keep_default_na=False)
    classes = sorted(table["class"].unique())
    labels = np.array([classes.index(name) for name in table["class"]])
    known = (table["split"] != "test").to_numpy()
    in_folds = fold_labels(folder, len(table))
    shown = Table(title="Balanced accuracy on a source that was left out")
    for column in ("network", "classes", "images", "left out", "the folds", "out of distribution"):
        shown.add_column(column)
    for path in sorted(folder.glob("search-*.npz")):
        _, kind, source = path.stem.split("-")
        rows = np.flatnonzero(known & (table["source"] == source).to_numpy())
        called = np.load(path)["logits"][0][rows].argmax(1)
        counts = np.bincount(labels[rows], minlength=len(classes))
        counted = np.flatnonzero(counts >= LEAST_IMAGES)
        scores = [
            recall_score(labels[rows], found, labels=counted, average="macro")
            for found in (called, in_folds[rows])
        ]
        flagged = ""
        if path.with_suffix(".safetensors").is_file():
            flagged = f"{share_flagged(path, table, source, chosen.images):.1%}"
        shown.add_row(
            f"{kind}, without {source}",
            str(len(counted)),
            f"{len(rows):,}",
            *(f"{score:.3f}" for score in scores),
            flagged,
        )
    terminal().print(shown)


def fold_labels(folder: Path, images: int) -> np.ndarray:
    """Return the class that the fold networks call each image, by the one that has not seen it."""
    called = np.full(images, -1)
    for fold in range(FOLDS):
        found = np.load(folder / f"eca_fold{fold}.npz")
        unseen = ~found["trained_on"]
        called[unseen] = found["logits"][0][unseen].argmax(1)
    return called


def share_flagged(path: Path, table: pd.DataFrame, source: str, images: int) -> float:
    """Return the share of a left-out source's images that is called out of distribution."""
    from safetensors.torch import load_file

    torch.set_num_threads(2)
    network = create_network(MODEL, table["class"].nunique()).eval()
    network.load_state_dict(load_file(path.with_suffix(".safetensors")))
    pixels = np.load(path.parent / "pixels.npy", mmap_mode="r")
    left_out = (table["source"] == source).to_numpy()
    split = table["split"].to_numpy()
    random = np.random.default_rng(0)

    def features(of: np.ndarray, count: int) -> np.ndarray:
        rows = np.flatnonzero(of)
        rows = np.sort(random.choice(rows, min(count, len(rows)), replace=False))
        return network_outputs(network, pixels, rows)[1]

    distance = fit_distance(features(~left_out & (split == "train"), 2000))
    threshold = ood_threshold(distance(features(~left_out & (split == "val"), images)))
    return float((distance(features(left_out & (split != "test"), images)) > threshold).mean())


if __name__ == "__main__":
    main()
