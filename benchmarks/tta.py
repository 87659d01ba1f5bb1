"""Validation scores of a run with test-time augmentation (TTA): the mean over several views.

Mirrored, turned and closer: which views are worth a forward pass each.
python benchmarks/tta.py RUN
"""

import argparse

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.calibration import calibrate
from doctor_derma.export.onnx import load_network
from doctor_derma.models.networks import LesionNetwork
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.models.tta import CLOSER, VIEWS, View, look
from doctor_derma.training.runs import open_run
from doctor_derma.workspace import Workspace
from validation import Validation

BATCH = 64
METRICS = ("macro_auc", "balanced_accuracy", "accuracy", "ece")
WHOLE = VIEWS[0]


def mirrored(zoom: float) -> View:
    return View(0, True, zoom)


WAYS = {
    "the whole": (WHOLE,),
    "its middle": (mirrored(CLOSER),),
    "and mirrored": (WHOLE, mirrored(1)),
    **{
        f"and mirrored, {zoom:g} times closer": (WHOLE, mirrored(zoom))
        for zoom in (1.25, CLOSER, 1.75, 2)
    },
    "--tta 4": VIEWS[:4],
    "--tta 8": VIEWS,
}


def logits_of(
    network: LesionNetwork, pixels: np.ndarray, rows: np.ndarray, view: View
) -> np.ndarray:
    batches = np.split(rows, range(BATCH, len(rows), BATCH))
    with torch.inference_mode():
        images = (scale_pixels(torch.from_numpy(pixels[batch])) for batch in batches)
        # As the graph does it: the colours are those of the whole picture.
        seen = (look(network.colour(part), view) for part in images)
        pooled = torch.cat([network.backbone(part).mean((2, 3)) for part in seen])
        return network.head(pooled).double().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="name of a run")
    workspace = Workspace.find()
    validation = Validation.read(workspace)
    labels, classes = validation.labels, validation.dataset.classes
    run = open_run(workspace.runs, parser.parse_args().run)
    network, pixels = load_network(run), validation.pixels(run)
    views = {view for way in WAYS.values() for view in way}
    logits = {view: logits_of(network, pixels, validation.rows, view) for view in views}
    table = Table(title=f"{run.name}: validation split, {len(labels)} images")
    for heading in ("views", "runs", *METRICS):
        table.add_column(heading)
    for name, way in WAYS.items():
        mean = np.mean([logits[view] for view in way], axis=0)
        calibration = calibrate(
            mean,
            labels,
            validation.class_counts,
            balanced=run.config.balanced,
            prior_weight=run.config.prior_weight,
        )
        found = classification_metrics(labels, calibration.probabilities(mean), classes)
        table.add_row(name, str(len(way)), *(f"{found[metric]:.3f}" for metric in METRICS))
    Console().print(table)


if __name__ == "__main__":
    main()
