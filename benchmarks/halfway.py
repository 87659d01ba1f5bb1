"""How far the shipped weights go from the student to its last steps, on a fold neither has seen.

    python code/champion.py refine --images 84000     # after pack, folds and student
    python benchmarks/halfway.py

Fold 0 is judged as it is, and through one draw of strong augmentation. Share 0 is the student.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table
from safetensors.torch import load_file
from sklearn.metrics import recall_score, roc_auc_score
from torch import Tensor

from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.terminal import terminal
from doctor_derma.training.augmentation import augment
from doctor_derma.training.config import load_config

MODEL = "eca_efficientnet_lite0"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SIZE = (144, 192)
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("champion"))
    parser.add_argument(
        "--run", type=Path, default=Path("mlflow/runs/eca_lite0"), help="whose recipe is drawn from"
    )
    chosen = parser.parse_args()
    table = pd.read_csv(chosen.folder / "images.csv", keep_default_na=False)
    classes = sorted(table["class"].unique())
    seen = np.load(chosen.folder / "champion-fold0.npz")["trained_on"]
    rows = np.flatnonzero(~seen & (table["split"] != "test").to_numpy())
    labels = np.array([classes.index(name) for name in table["class"].iloc[rows]])
    pixels = torch.from_numpy(np.load(chosen.folder / "pixels.npy", mmap_mode="r")[rows])
    pieces = pixels.split(BATCH)
    torch.manual_seed(0)
    config = load_config(chosen.run / "config.yaml", {})
    views = {
        "as it is": [scale_pixels(piece) for piece in pieces],
        "strong augmentation": [augment(piece, SIZE, config, 4 / 3) for piece in pieces],
    }
    start, end = (
        load_file(chosen.folder / f"{name}.safetensors")
        for name in ("student-fold0", "champion-fold0")
    )
    network = create_network(MODEL, len(classes)).eval()
    shown = Table("share", *(f"{view}: balanced accuracy, macro AUC" for view in views))
    for share in SHARES:
        network.load_state_dict(
            {
                name: torch.lerp(value, end[name], share) if value.is_floating_point() else value
                for name, value in start.items()
            }
        )
        shown.add_row(f"{share:g}", *(scores(network, images, labels) for images in views.values()))
    terminal().print(shown)


@torch.inference_mode()
def scores(network: LesionNetwork, images: Iterable[Tensor], labels: np.ndarray) -> str:
    """Return balanced accuracy and macro AUC of batches of images in [0, 1]."""
    found = torch.cat([network(batch) for batch in images]).softmax(1).numpy()
    recall = recall_score(labels, found.argmax(1), average="macro")
    aucs = [roc_auc_score(labels == k, found[:, k]) for k in range(found.shape[1])]
    return f"{recall:.3f}, {np.mean(aucs):.3f}"


if __name__ == "__main__":
    main()
