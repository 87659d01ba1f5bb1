"""How good networks are on images that they were not trained on; never on the test split."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from sklearn.metrics import recall_score, roc_auc_score
from torch import Tensor

from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.augmentation import augment
from jobs import STRONG, Job, refine_jobs
from packed import ASPECT_RATIO, SIZE, PackedImages

LEAST_IMAGES = 21  # Of a class that is counted in a source.
BATCH = 64
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def summarise(folder: Path, jobs: list[Job]) -> pd.DataFrame:
    """Say how well each finished job does on what it was kept from."""
    data = pd.read_csv(folder / "images.csv", keep_default_na=False)
    classes = sorted(data["class"].unique())
    labels = np.array([classes.index(name) for name in data["class"]])
    rows = []
    for job in jobs:
        path = folder / f"{job.name}.npz"
        if not path.is_file():
            continue
        found = np.load(path)
        judged = ~found["trained_on"] & (data["split"] != "test").to_numpy()
        if not judged.any():
            continue
        logits, truth = found["logits"][:, judged], labels[judged]
        scores = {
            "images": int(judged.sum()),
            **judge(logits[0], truth, classes, LEAST_IMAGES),
            "two_views": _mean_recall(logits.mean(0), truth, _counted(truth, LEAST_IMAGES)),
        }
        rows.append({"job": job.name, **scores, "seconds": float(found["seconds"])})
    return pd.DataFrame(rows)


def judge(
    logits: np.ndarray, truth: np.ndarray, classes: list[str], least: int = 1
) -> dict[str, float]:
    """Measure logits (n, classes) against the truth, over classes with ``least`` images or more."""
    counted = _counted(truth, least)
    aucs = [
        roc_auc_score(truth == k, logits[:, k] - np.log(np.exp(np.delete(logits, k, 1)).sum(1)))
        for k in counted
    ]
    mel, nv = classes.index("mel"), classes.index("nv")
    pair = np.isin(truth, [mel, nv])
    difference = logits[pair, mel] - logits[pair, nv]
    return {
        "balanced_accuracy": _mean_recall(logits, truth, counted),
        "macro_auc": float(np.mean(aucs)),
        "mel_nv_auc": float(roc_auc_score(truth[pair] == mel, difference)),
    }


def _counted(truth: np.ndarray, least: int) -> np.ndarray:
    return np.flatnonzero(np.bincount(truth) >= least)


def _mean_recall(logits: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> float:
    return float(np.mean(recall_score(truth, logits.argmax(1), labels=counted, average=None)))


def between(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Go a share of the way from some weights to others; counts of batches are the last ones.

    The last steps make a network robust and cost it some of what it knew; in the middle most of
    both is left (M. Wortsman et al.: Robust fine-tuning of zero-shot models. CVPR 2022,
    arXiv:2109.01903).
    """
    return {
        name: torch.lerp(value, end[name], share) if value.is_floating_point() else end[name]
        for name, value in start.items()
    }


def weights_between(folder: Path, job: Job, share: float) -> dict[str, Tensor]:
    """Return the weights that lie so far on the way from a job's start to its end."""
    start, end = (load_file(folder / f"{name}.safetensors") for name in (job.start, job.name))
    return between(start, end, share)


@torch.inference_mode()
def compare_shares(folder: Path) -> pd.DataFrame:
    """Judge the twin on fold 0, which it has not seen: as it is, and strongly augmented."""
    images = PackedImages(folder, torch.device("cpu"))
    rows = np.flatnonzero(images.folds == 0)
    pieces = images.pixels[torch.from_numpy(rows)].split(BATCH)
    torch.manual_seed(0)
    views = {
        "as it is": [scale_pixels(piece) for piece in pieces],
        "strong": [augment(piece, SIZE, STRONG, ASPECT_RATIO) for piece in pieces],
    }
    _, twin = refine_jobs()
    network = create_network(twin.model, len(images.classes)).eval()
    found = []
    for share in SHARES:
        network.load_state_dict(weights_between(folder, twin, share))
        for view, batches in views.items():
            logits = torch.cat([network(batch) for batch in batches]).numpy()
            scores = judge(logits, images.labels[rows], images.classes)
            found.append({"share": share, "images": view, **scores})
    return pd.DataFrame(found)
