"""What the tests train: a synthetic set of small pictures, and recipes that take seconds."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import Dataset, DatasetInfo, read_dataset
from doctor_derma.data.synthetic.synthesis import SYNTHETIC, synthesize
from doctor_derma.diagnoses import HAM10000_DIAGNOSES
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.runs import Run, create_run
from doctor_derma.workspace import Workspace

# Variables that would lead a test to somebody else's data or runs.
FOREIGN = ("MLFLOW_TRACKING_URI", "DERMA_ROOT", "DERMA_RUN", "DERMA_PROVIDERS")
# Arguments to the exit status, standard output and standard error, see tests/conftest.py.
RunDerma = Callable[..., tuple[int, str, str]]
DERMA = Path(sys.executable).with_name("derma")
# The smallest residual network of timm: a hundredth of a resnet18.
SMALLEST = "timm/test_resnet"
RECIPE: dict[str, Any] = {
    "model": SMALLEST,
    "epochs": 2,
    "batch_size": 16,
    "image_size": 32,
    "train_size": 32,
    "start_size": 32,
    "precision": "fp32",
    "accelerator": "cpu",
    "devices": 1,
}


@dataclass(frozen=True)
class Project:
    """A root with data and a finished run."""

    workspace: Workspace
    run: Run

    @property
    def dataset(self) -> Dataset:
        return read_dataset(self.workspace.data)


def import_lesions(data: Path, each: int = 10) -> None:
    """Import so many small synthetic pictures of each of the seven classes."""
    drawn = synthesize(dict.fromkeys(HAM10000_DIAGNOSES, each), size=(48, 36))
    import_images(drawn, DatasetInfo(*SYNTHETIC, seed=0), data)


def copy_data(source: Path, root: Path) -> Path:
    """Copy data and MLflow's tables of one root to another, without what was derived from them."""
    ignored = shutil.ignore_patterns("cache")
    shutil.copytree(source / "data", root / "data", ignore=ignored)
    made = Workspace(source).tracking_database
    if made.exists():
        copy = Workspace(root).tracking_database
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, copy)
    return root


def recipe(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(RECIPE | changes)


def flags(**changes: Any) -> list[str]:
    """The same recipe on the command line."""
    settings = (RECIPE | changes).items()
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings]


@cache
def shallow() -> str:
    """Return the name of a network of two convolutions, which only this process knows.

    Tracing a network for its export takes longer than all else that a test does with it, and as
    much longer as it has layers and views: of eight views, seven seconds and not thirty.
    """
    import timm
    from torch import nn

    class Shallow(nn.Sequential):
        num_features = 16

    def test_shallow(pretrained: bool = False, **options: Any) -> nn.Module:
        first = (nn.Conv2d(3, 8, 3, 4, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        second = (nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        return Shallow(*first, *second)

    timm.models.register_model(test_shallow)
    return f"timm/{test_shallow.__name__}"


def new_run(root: Path, name: str, **changes: Any) -> Run:
    """Make the folder of a run that isn't trained yet."""
    workspace = Workspace(root)
    return create_run(workspace.runs, recipe(**changes), read_dataset(workspace.data), name)


def train_tiny(root: Path, name: str, **changes: Any) -> Project:
    """Train, export and track a run as ``derma train`` does."""
    from doctor_derma.commands.runs import start_run

    workspace = Workspace(root)
    run = start_run(workspace, recipe(**changes), name)
    assert run is not None
    return Project(workspace, run)


@contextmanager
def without_foreign() -> Iterator[pytest.MonkeyPatch]:
    """Leave those variables out of the environment; give what can change more of it meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN:
            patch.delenv(name, raising=False)
        yield patch


def own_environment(**variables: str) -> dict[str, str]:
    """Return the environment without what MLflow, earlier tests or a person left there."""
    return {name: v for name, v in os.environ.items() if name not in FOREIGN} | variables


def derma(
    *arguments: object, env: dict[str, str] | None = None, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    command = [str(DERMA), *map(str, arguments)]
    options |= {"capture_output": True, "text": True, "check": False}
    return subprocess.run(command, env=own_environment() if env is None else env, **options)


def real_pixels(dataset: Dataset, count: int, size: int = 32) -> np.ndarray:
    """Return the first pictures of a set as a network takes them, uint8 (n, size, size, 3)."""
    from doctor_derma.images.decoding import fit_pixels, open_image

    paths = [dataset.folder / path for path in dataset.table["path"][:count]]
    return np.stack([fit_pixels(open_image(path), size, size) for path in paths])


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let this process write no larger files, as where a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
