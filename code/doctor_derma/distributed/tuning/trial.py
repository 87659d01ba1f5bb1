"""One trial of a sweep, in a process of Ray's: an ordinary run that Tune hears of."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from ray import tune

from doctor_derma.data.manifest import read_dataset
from doctor_derma.distributed.tuning.exchange import Handover, read_handover, remove_scratch
from doctor_derma.distributed.tuning.job import Job
from doctor_derma.distributed.tuning.reports import Reports
from doctor_derma.distributed.tuning.trial_run import LOG_FILE, has_ended, mark_ended, open_trial
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.epochs import EpochTable
from doctor_derma.training.loop import check_data, fit, make_trainer
from doctor_derma.training.runs import Run
from doctor_derma.workspace import Workspace

_TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"


def run_trial(config: dict[str, Any], job: Job) -> None:
    """Train one trial with the settings that were drawn for it, going on where it was.

    Ends with ``SystemExit``, code 0, where Tune stops or pauses it; its last epoch is kept.
    """
    recipe = TrainConfig.model_validate(job.sweep.base | config)
    workspace = Workspace(job.root)
    dataset = read_dataset(workspace.data)
    name = tune.get_context().get_trial_name()
    _set_environment(job)
    with _given() as handover:
        run = open_trial(workspace.runs, name, recipe, dataset, handover)
        tags = {"sweep": job.sweep_name}
        if handover and handover.trial != name:
            tags[f"taken_over_at_epoch_{handover.epochs}"] = handover.trial
    remove_scratch(run)
    check_data(run, dataset)
    tracker = Tracker(workspace)
    with (run.folder / LOG_FILE).open("a", buffering=1) as log, _into(log):
        tracker.start(run, parent=job.tracked_as, tags=tags)
        run = run.with_tracking_id(tracker.tracking_id or run.info.tracking_id)
        try:
            reports = Reports(run, tracker, with_state=job.sweep.scheduler == "pbt")
            reports.repeat(since=handover.epochs if handover else 0)
            if not has_ended(run.folder):
                _train(run, dataset, reports)
                mark_ended(run)
        except (SystemExit, KeyboardInterrupt):
            # The driver says in MLflow why; a run that is only paused is opened again.
            tracker.finish()
            sys.exit(0)
        except BaseException:
            tracker.finish("FAILED")
            raise
        tracker.finish()


def _train(run: Run, dataset: Any, reports: Reports) -> None:
    table = EpochTable(run.metrics_file, run.config.batch_size, reports.on_epoch)
    config = run.config
    # Ray shows a trial the processors and GPUs that are its own.
    trainer = make_trainer(run, [table], accelerator=config.accelerator, devices=config.devices)
    # Last, so that what is reported has been kept; Lightning itself appends here too.
    trainer.callbacks.append(reports)  # type: ignore[attr-defined]
    fit(trainer, run, dataset)


@contextmanager
def _given() -> Iterator[Handover | None]:
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        yield None
        return
    with checkpoint.as_directory() as folder:
        yield read_handover(Path(folder))


def _set_environment(job: Job) -> None:
    torch.set_num_threads(job.sweep.cpus_per_trial)
    # Seconds that Tune waits for a stopped trial before it takes the process for another one.
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")
    if job.tracking_address:
        os.environ[_TRACKING_VARIABLE] = job.tracking_address
    else:
        os.environ.pop(_TRACKING_VARIABLE, None)


@contextmanager
def _into(log: Any) -> Iterator[None]:
    with redirect_stdout(log), redirect_stderr(log):
        yield
