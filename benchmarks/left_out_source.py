"""What a network does on a source that it has never seen, against networks that have.

    python code/champion pack && python code/champion search && python code/champion folds

The networks of the search leave out one source each. Their images of it are judged, without those
of the test split; beside them stand the fold networks, each on the same images that it has not seen
but whose source it has. How many pictures of the new source are called out of distribution is
measured with the threshold that 95% of the known sources' validation images are within.

Takes a few minutes; needs code/champion pack, search and folds before it.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import recall_score
from typer import Option

from attention import out_of_fold
from command import run, show
from doctor_derma.export.ood import fit_distance, ood_threshold
from doctor_derma.export.out_of_fold import network_outputs
from doctor_derma.models.networks import create_network

MODEL = "eca_efficientnet_lite0"
LEAST_IMAGES = 21  # Of a class that is counted.


def main(
    folder: Path = Path("champion"),
    images: Annotated[int, Option(help="of each kind, for the distances")] = 800,
) -> None:
    table = pd.read_csv(folder / "images.csv", keep_default_na=False)
    classes = sorted(table["class"].unique())
    labels = np.array([classes.index(name) for name in table["class"]])
    known = (table["split"] != "test").to_numpy()
    in_folds = out_of_fold(folder, "eca_", len(table), len(classes)).argmax(1)
    shown = []
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
            flagged = f"{share_flagged(path, table, source, images):.1%}"
        cells = (f"{score:.3f}" for score in scores)
        name = f"{kind}, without {source}"
        shown.append((name, len(counted), f"{len(rows):,}", *cells, flagged))
    headings = "network", "classes", "images", "left out", "the folds", "out of distribution"
    show("Balanced accuracy on a source that was left out", headings, shown)


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
    run(main)
