"""Validation scores of runs by the weight that the classes' shares get in the probabilities.

Shows what a loss for rare classes gives and costs: train one run a loss, then
python benchmarks/class_imbalance.py RUN RUN ...
"""

import argparse

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.calibrating import calibrate
from doctor_derma.export.graph import load_network
from doctor_derma.training.augmentation import normalise
from doctor_derma.training.runs import Run, open_run
from doctor_derma.workspace import Workspace

PREVALENCES = (0.0, 0.25, 0.5, 0.75, 1.0)
METRICS = ("macro_auc", "balanced_accuracy", "accuracy", "ece")


def validation_logits(run: Run, dataset: Dataset) -> np.ndarray:
    """Return a run's logits of the validation split, float64 of shape (n, classes)."""
    network, size = load_network(run), run.config.image_size
    pixels = pixel_cache(dataset, size, size)
    rows = np.flatnonzero(dataset.table["split"] == "val")
    with torch.inference_mode():
        batches = [
            network(normalise(torch.from_numpy(pixels[batch])))
            for batch in np.array_split(rows, max(1, len(rows) // 64))
        ]
    return torch.cat(batches).double().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", help="names of runs")
    workspace = Workspace.find()
    dataset = read_dataset(workspace.data)
    labels = np.array(dataset.targets(dataset.split("val")))
    counts = np.bincount(dataset.targets(dataset.split("train")), minlength=len(dataset.classes))
    table = Table(title=f"Validation split, {len(labels)} images")
    for heading in ("run", "loss", "prevalence", *METRICS):
        table.add_column(heading)
    for name in parser.parse_args().runs:
        run = open_run(workspace.runs, name)
        logits = validation_logits(run, dataset)
        for prevalence in PREVALENCES:
            balanced = run.config.imbalance != "none"
            calibration = calibrate(
                logits, labels, counts, balanced=balanced, prevalence=prevalence
            )
            probabilities = calibration.probabilities(logits)
            found = classification_metrics(labels, probabilities, dataset.classes)
            scores = [f"{found[metric]:.3f}" for metric in METRICS]
            table.add_row(run.name, run.config.imbalance, f"{prevalence:g}", *scores)
    Console().print(table)


if __name__ == "__main__":
    main()
