"""What the notebooks begin with: a data set, and networks trained for less than a minute."""

import os
import tempfile
from pathlib import Path

from doctor_derma.data.importing import import_images
from doctor_derma.data.manifest import MANIFEST_FILE, Dataset, DatasetInfo, read_dataset
from doctor_derma.data.synthesis import SYNTHETIC, synthesize
from doctor_derma.pipeline import start_run
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.runs import INFO_FILE, Run, open_run
from doctor_derma.workspace import ROOT_VARIABLE, Workspace

SCRATCH = Path(tempfile.gettempdir()) / "doctor-derma"
IMAGES_SEEN = 3000


def open_dataset() -> tuple[Workspace, Dataset]:
    """Open what was imported; where nothing was, draw a synthetic set into a scratch folder.

    The scratch folder then is the workspace of the whole notebook, through ``$DERMA_ROOT``.
    """
    workspace = Workspace.find()
    if not (workspace.data / MANIFEST_FILE).is_file():
        os.environ[ROOT_VARIABLE] = str(SCRATCH)
        workspace = Workspace.find()
    if not (workspace.data / MANIFEST_FILE).is_file():
        import_images(synthesize(), DatasetInfo(*SYNTHETIC, seed=0), workspace.data)
    return workspace, read_dataset(workspace.data)


def brief_recipe(dataset: Dataset, model: str) -> TrainConfig:
    """Return settings to look at a network with, not to use it: small images, few epochs."""
    epochs = max(2, IMAGES_SEEN // len(dataset.split("train")))
    return TrainConfig(
        model=model,
        epochs=epochs,
        batch_size=32,
        image_size=64,
        train_size=64,
        start_size=64,
        ema_decay=0.97,
    )


def train_brief(workspace: Workspace, dataset: Dataset, model: str) -> Run:
    """Train, export and track a network, unless the same was done before on the same data."""
    recipe = brief_recipe(dataset, model)
    for path in sorted(workspace.runs.glob(f"*/{INFO_FILE}")):
        run = open_run(workspace.runs, path.parent.name)
        same = run.config == recipe and run.info.data_fingerprint == dataset.fingerprint
        if same and run.bundle.is_dir():
            return run
    name = f"brief_{model}"
    run = start_run(workspace, recipe, None if (workspace.runs / name).exists() else name)
    assert run is not None
    return run
