"""The run folder of a trial: begun, gone on with, or begun with another trial's state.

In population-based training [1]_ a trial takes over the state of a better one: weights, their
moving average, the optimiser's moments and the place in the schedule. The rates are its own: a
checkpoint holds those of the trial it comes from.

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

import pandas as pd
import torch

from doctor_derma.data.manifest import Dataset
from doctor_derma.training.checkpoints import WholeCheckpoints
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.module import MONITOR
from doctor_derma.training.runs import CONFIG_FILE, ENDED_FILE, INFO_FILE, Run, create_run, open_run

LOG_FILE = "trial.log"
EPOCH = "epoch"
_STATE_FILE = "last.ckpt"
_ORIGIN_FILE = "origin.json"
_SCRATCH = ".handover-"
# What of timm's cosine schedule is in proportion to the peak of the learning rate.
_RATES = ("base_values", "lr_min", "warmup_lr_init", "warmup_steps")
# What the states of checkpoints that a run keeps are called in its last one.
_BEST_EPOCH = "ModelCheckpoint"


@dataclass(frozen=True)
class Handover:
    """A trial's state after some epochs, in a folder that Tune copies."""

    trial: str
    epochs: int
    config: TrainConfig
    state: Path


def open_trial(
    runs: Path, name: str, config: TrainConfig, dataset: Dataset, handover: Handover | None
) -> Run:
    """Open the run of a trial where it was, or make it.

    Parameters
    ----------
    handover : the state that Tune starts the trial from, None for its own last epoch

    Returns
    -------
    a run whose last checkpoint, if there is one, is what training goes on from
    """
    folder = runs / name
    if (folder / INFO_FILE).is_file() and (folder / CONFIG_FILE).is_file():
        run = open_run(runs, name)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        run = create_run(runs, config, dataset, name)
    for left in folder.glob(f"{_SCRATCH}*"):  # By a trial that was killed while it reported.
        shutil.rmtree(left, ignore_errors=True)
    if handover and (handover.trial != name or handover.config != config):
        run = run.with_config(config)
        take_over(handover, run)
        (folder / ENDED_FILE).unlink(missing_ok=True)
    elif run.config != config:
        # Drawn again, as the driver was killed before it had written down what it drew.
        shutil.rmtree(folder)
        run = create_run(runs, config, dataset, name)
    return run


def validated_epochs(run: Run) -> list[tuple[int, dict[str, float]]]:
    """Read the epochs of a run that were validated, with their metrics."""
    if not run.metrics_file.is_file():
        return []
    table = pd.read_csv(run.metrics_file).set_index(EPOCH)
    if MONITOR not in table:
        return []
    rows: dict[Any, Any] = table[table[MONITOR].notna()].astype(float).to_dict("index")
    return list(rows.items())


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
        config = run.config.model_dump(mode="json")
        origin = {"trial": run.name, "epochs": epochs, "config": config}
        (folder / _ORIGIN_FILE).write_text(json.dumps(origin))
        yield folder


def read_handover(folder: Path) -> Handover:
    """Read what ``hand_over`` gave."""
    origin = json.loads((folder / _ORIGIN_FILE).read_text())
    config = TrainConfig.model_validate(origin["config"])
    return Handover(origin["trial"], origin["epochs"], config, folder / _STATE_FILE)


def take_over(handover: Handover, run: Run) -> None:
    """Make a trial's state the last checkpoint of a run, with the rates of that run.

    The best epoch so far, in ``checkpoints/best.ckpt``, stays the run's own.
    """
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
            values = schedule[name]
            schedule[name] = (
                [value * scale for value in values] if isinstance(values, list) else values * scale
            )
    callbacks = state["callbacks"]
    others = {name: callbacks[name] for name in callbacks if not name.startswith(_BEST_EPOCH)}
    state["callbacks"] = others | _best_epoch(run)
    WholeCheckpoints().save_checkpoint(state, run.last_checkpoint)


def _best_epoch(run: Run) -> dict[str, Any]:
    """Read what a run's last checkpoint says of its best one; nothing where there is none."""
    if not run.last_checkpoint.is_file():
        return {}
    # Mapped, so that no weight is read.
    kept = torch.load(run.last_checkpoint, map_location="cpu", mmap=True, weights_only=True)
    callbacks = kept["callbacks"]
    return {name: callbacks[name] for name in callbacks if name.startswith(_BEST_EPOCH)}
