"""The run folder of a trial: begun, gone on with, or begun with another trial's weights."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from doctor_derma.data.manifest import Dataset
from doctor_derma.distributed.tuning.exchange import Handover, take_over
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.module import MONITOR
from doctor_derma.training.runs import CONFIG_FILE, INFO_FILE, Run, create_run, open_run

LOG_FILE = "trial.log"
EPOCH = "epoch"
# Beside the checkpoints once a trial has trained to its end.
_ENDED_FILE = "trial_ended"


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
    run = _existing(runs, name)
    if run is None:
        run = create_run(runs, config, dataset, name)
    if handover and (handover.trial != name or handover.config != config):
        run = run.with_config(config)
        take_over(handover, run)
        (run.folder / _ENDED_FILE).unlink(missing_ok=True)
    elif run.config != config:
        # Drawn again, as the driver was killed before it had written down what it drew.
        shutil.rmtree(run.folder)
        run = create_run(runs, config, dataset, name)
    return run


def _existing(runs: Path, name: str) -> Run | None:
    folder = runs / name
    if (folder / INFO_FILE).is_file() and (folder / CONFIG_FILE).is_file():
        return open_run(runs, name)
    shutil.rmtree(folder, ignore_errors=True)
    return None


def mark_ended(run: Run) -> None:
    """Note that a trial has trained to its end, which early stopping may be."""
    (run.folder / _ENDED_FILE).touch()


def has_ended(folder: Path) -> bool:
    """Tell whether the trial of a run's folder has trained to its end."""
    return (folder / _ENDED_FILE).is_file()


def validated_epochs(run: Run) -> list[tuple[int, dict[str, float]]]:
    """Read the epochs of a run that were validated, with their metrics."""
    if not run.metrics_file.is_file():
        return []
    table = pd.read_csv(run.metrics_file)
    if MONITOR not in table:
        return []
    rows: list[dict[Any, Any]] = table[table[MONITOR].notna()].to_dict("records")
    return [
        (int(row[EPOCH]), {str(k): float(v) for k, v in row.items() if k != EPOCH}) for row in rows
    ]
