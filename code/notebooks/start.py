"""What the notebooks start from: a data set, and a trained network of each kind."""

import os
import tempfile
from pathlib import Path

from doctor_derma.bundle import read_info
from doctor_derma.commands.runs import start_run
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import MANIFEST_FILE, Dataset, DatasetInfo, read_dataset
from doctor_derma.data.synthetic.synthesis import SYNTHETIC, synthesize
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.runs import INFO_FILE, Run, open_run
from doctor_derma.workspace import ROOT_VARIABLE, Workspace

SCRATCH = Path(tempfile.gettempdir()) / "doctor-derma"
# What a brief training sees, each image as often as it is shown.
IMAGES_VARIABLE = "DERMA_BRIEF_IMAGES"
IMAGES_SEEN = 2000
_SCORE = "balanced_accuracy"


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


def best_run(workspace: Workspace, dataset: Dataset, model: str) -> Run:
    """Return the best run of a network on this data set; train one briefly if there is none.

    The best is that of the highest validation balanced accuracy, of those that are validated with
    the validation split and have not trained on it. A brief training is exported and tracked like
    any other.
    """
    runs = [
        open_run(workspace.runs, path.parent.name) for path in workspace.runs.glob(f"*/{INFO_FILE}")
    ]
    finished = [
        run
        for run in runs
        if run.config.model == model
        and run.info.data_fingerprint == dataset.fingerprint
        and not run.config.judges_a_part
        and not run.config.refit
        and run.bundle.is_dir()
    ]
    if finished:
        return max(finished, key=lambda run: read_info(run.bundle).metrics["val"][_SCORE])
    name = f"brief_{model}"
    taken = (workspace.runs / name).exists()
    run = start_run(workspace, brief_recipe(dataset, model), None if taken else name)
    assert run is not None
    return run


def brief_recipe(dataset: Dataset, model: str) -> TrainConfig:
    """Return settings that train in half a minute: small images, few epochs.

    EfficientNets start from ImageNet weights, which are installed with what training needs.
    ``$DERMA_BRIEF_IMAGES`` says how many images are shown, else 2,000.
    """
    images = int(os.environ.get(IMAGES_VARIABLE, IMAGES_SEEN))
    epochs = max(2, images // len(dataset.split("train")))
    return TrainConfig(
        model=model,
        pretrained="efficientnet" in model,
        epochs=epochs,
        batch_size=32,
        image_size=64,
        train_size=64,
        start_size=64,
        ema_decay=0.97,
    )
