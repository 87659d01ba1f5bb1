"""One trial of a sweep, in a process of Ray's: an ordinary run that Tune hears of."""

import os
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint
from ray import tune

from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.distributed.tune.handover import (
    EPOCH,
    LOG_FILE,
    hand_over,
    open_trial,
    read_handover,
    validated_epochs,
)
from doctor_derma.distributed.tune.sweep import Sweep
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.training.checkpoints import finished_epochs
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.epochs import EpochTable
from doctor_derma.training.loop import check_data, fit, make_trainer
from doctor_derma.training.module import MONITOR
from doctor_derma.training.runs import Run
from doctor_derma.workspace import Workspace

_TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Job:
    """A sweep as its trials need to know it.

    Attributes
    ----------
    tracked_as : id of the sweep in MLflow
    tracking_address : where that is, None for the root's own store
    """

    root: Path
    sweep: Sweep
    sweep_name: str
    tracked_as: str | None
    tracking_address: str | None


def run_trial(config: dict[str, Any], job: Job) -> None:
    """Train one trial with the settings that were drawn for it, going on where it was.

    Ends with ``SystemExit``, code 0, where Tune stops or pauses it; its last epoch is kept.
    """
    recipe = TrainConfig.model_validate(job.sweep.base | config)
    workspace = Workspace(job.root)
    dataset = read_dataset(workspace.data)
    name = tune.get_context().get_trial_name()
    _set_environment(job)
    given = tune.get_checkpoint()
    with given.as_directory() if given else nullcontext() as folder:
        handover = read_handover(Path(folder)) if folder else None
        run = open_trial(workspace.runs, name, recipe, dataset, handover)
    tags = {"sweep": job.sweep_name}
    if handover and handover.trial != name:
        tags[f"taken_over_at_epoch_{handover.epochs}"] = handover.trial
    check_data(run, dataset)
    tracker = Tracker(workspace)
    with (
        (run.folder / LOG_FILE).open("a", buffering=1) as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        tracker.start(run, parent=job.tracked_as, tags=tags)
        run = run.with_tracking_id(tracker.tracking_id or run.info.tracking_id)
        try:
            reports = Reports(run, tracker, with_state=job.sweep.scheduler == "pbt")
            reports.repeat(since=handover.epochs if handover else 0)
            _train(run, dataset, reports)
        except (SystemExit, KeyboardInterrupt):
            # The driver says in MLflow why; a run that is only paused is opened again.
            tracker.finish()
            sys.exit(0)
        except BaseException:
            tracker.finish("FAILED")
            raise
        tracker.finish()


def _train(run: Run, dataset: Dataset, reports: "Reports") -> None:
    table = EpochTable(run.metrics_file, run.config.batch_size, reports.on_epoch)
    config = run.config
    # Ray shows a trial the processors and GPUs that are its own.
    trainer = make_trainer(run, [table], accelerator=config.accelerator, devices=config.devices)
    # Last, so that what is reported has been kept; Lightning itself appends here too.
    trainer.callbacks.append(reports)  # type: ignore[attr-defined]
    fit(trainer, run, dataset)


def _set_environment(job: Job) -> None:
    torch.set_num_threads(job.sweep.cpus_per_trial)
    # Seconds that Tune waits for a stopped trial before it takes the process for another one.
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")
    os.environ.pop(_TRACKING_VARIABLE, None)
    if job.tracking_address:
        os.environ[_TRACKING_VARIABLE] = job.tracking_address


class Reports(Checkpoint):
    """Reports a validated epoch to Tune after the run's own checkpoint of it is written.

    Where Tune then stops or pauses the trial, ``tune.report`` raises ``SystemExit``. Lightning
    calls callbacks of the class ``Checkpoint`` after all others, in their order.

    Parameters
    ----------
    with_state : whether Tune is given the run's state as well, for other trials to take over
    """

    def __init__(self, run: Run, tracker: Tracker, with_state: bool) -> None:
        self.run = run
        self.tracker = tracker
        self.with_state = with_state
        self.latest: tuple[int, dict[str, float]] | None = None

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Take the metrics of an epoch, whose checkpoint is not written yet."""
        self.tracker.log_epoch(epoch, metrics)
        self.latest = (epoch, metrics)

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Report the epoch to Tune, if it was validated."""
        if self.latest and MONITOR in self.latest[1]:
            self._report(*self.latest)

    def repeat(self, since: int) -> None:
        """Report epochs again that Tune may have forgotten, as its driver was killed.

        Parameters
        ----------
        since : epochs that Tune knows of
        """
        kept = finished_epochs(self.run.last_checkpoint)
        known = [row for row in validated_epochs(self.run) if since <= row[0] < kept]
        # With the state only the last, as the states before are gone.
        for epoch, metrics in known[-1:] if self.with_state else known:
            self._report(epoch, metrics)

    def _report(self, epoch: int, metrics: dict[str, float]) -> None:
        values = {**metrics, EPOCH: epoch + 1}
        if not self.with_state:
            tune.report(values)
            return
        with hand_over(self.run, epoch + 1) as folder:
            tune.report(values, checkpoint=tune.Checkpoint.from_directory(folder))
