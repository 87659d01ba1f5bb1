"""Population-based training [1]_: a trial takes over the state of a better one.

What it takes over are weights, their moving average, the optimiser's moments and the place in
the schedule. The rates are its own: a checkpoint holds those of the trial it comes from.

References
----------
.. [1] M. Jaderberg et al.: Population Based Training of Neural Networks. 2017, arXiv:1711.09846.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from doctor_derma.training.checkpoints import WholeCheckpoints
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.runs import Run

_STATE_FILE = "last.ckpt"
_ORIGIN_FILE = "origin.json"
_SCRATCH = ".handover-"
# What of timm's cosine schedule is in proportion to the peak of the learning rate.
_RATES = ("base_values", "lr_min", "warmup_lr_init", "warmup_steps")


@dataclass(frozen=True)
class Handover:
    """A trial's state after some epochs, in a folder that Tune copies."""

    trial: str
    epochs: int
    config: TrainConfig
    state: Path


@contextmanager
def hand_over(run: Run, epochs: int) -> Iterator[Path]:
    """Give a folder with the state of a run, which is gone after the block.

    The checkpoint in it is the run's own file under another name where the disk allows that:
    a run replaces its checkpoints and never writes into them.
    """
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=run.folder) as scratch:
        folder = Path(scratch)
        try:
            os.link(run.last_checkpoint, folder / _STATE_FILE)
        except OSError:
            shutil.copyfile(run.last_checkpoint, folder / _STATE_FILE)
        origin = {"trial": run.name, "epochs": epochs, "config": run.config.model_dump()}
        (folder / _ORIGIN_FILE).write_text(json.dumps(origin))
        yield folder


def read_handover(folder: Path) -> Handover:
    """Read what ``hand_over`` gave."""
    origin = json.loads((folder / _ORIGIN_FILE).read_text())
    config = TrainConfig.model_validate(origin["config"])
    return Handover(origin["trial"], origin["epochs"], config, folder / _STATE_FILE)


def take_over(handover: Handover, run: Run) -> None:
    """Make a trial's state the last checkpoint of a run, with the rates of that run."""
    state = torch.load(handover.state, map_location="cpu", weights_only=True)
    scale = run.config.learning_rate / handover.config.learning_rate
    for optimizer in state["optimizer_states"]:
        for group in optimizer["param_groups"]:
            group["lr"] *= scale
            group["initial_lr"] *= scale
        # The first group holds the weights; the other, biases and scales, never decays.
        optimizer["param_groups"][0]["weight_decay"] = run.config.weight_decay
    for schedule in state["lr_schedulers"]:
        for name in _RATES:
            schedule[name] = _scaled(schedule[name], scale)
    # The files that they name belong to the other run.
    state["callbacks"] = {
        name: kept
        for name, kept in state["callbacks"].items()
        if not name.startswith("ModelCheckpoint")
    }
    WholeCheckpoints().save_checkpoint(state, run.last_checkpoint)


def remove_scratch(run: Run) -> None:
    """Remove what a trial that was killed while it reported has left."""
    for left in run.folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)


def _scaled(values: Any, scale: float) -> Any:
    if isinstance(values, list):
        return [value * scale for value in values]
    return values * scale
