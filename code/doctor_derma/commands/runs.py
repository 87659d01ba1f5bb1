"""``derma train``: a run from its recipe to its bundle, all of it tracked."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext

from doctor_derma.bundle import read_info
from doctor_derma.commands.publishing import export
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.distributed.train.run import WORKERS_FILE, read_workers
from doctor_derma.errors import DermaError
from doctor_derma.export.out_of_fold import predict_left_out
from doctor_derma.terminal import terminal
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.epochs import CURVES_FILE, OnEpoch, plot_curves
from doctor_derma.training.loop import train
from doctor_derma.training.runs import (
    Run,
    RunIsBusy,
    RunIsStopped,
    create_run,
    is_first_process,
    locked,
    open_run,
)
from doctor_derma.workspace import Workspace

# Trains a run to its end; true in the process that goes on with what came of it.
Fit = Callable[[Run, Dataset, OnEpoch], bool]


def start_run(
    workspace: Workspace, config: TrainConfig, name: str | None, fit: Fit = train
) -> Run | None:
    """Train a new run, export it, and track all of it.

    ``fit`` trains it to its end, here or elsewhere. The finished run is returned, but None in all
    but the first of several processes.
    """
    dataset = read_dataset(workspace.data)
    run = create_run(workspace.runs, config, dataset, name)
    try:
        return _train(workspace, run, dataset, fit)
    # Another process found the new folder and went on with it, or this command can.
    except (RunIsBusy, RunIsStopped):
        raise
    except DermaError:
        if is_first_process() and not run.metrics_file.is_file():
            shutil.rmtree(run.folder, ignore_errors=True)  # It never began, so nothing is lost.
        raise


def resume_run(workspace: Workspace, reference: str, fit: Fit = train) -> Run | None:
    """Go on with a run that was stopped, from its last finished epoch."""
    run = open_run(workspace.runs, reference)
    return _train(workspace, run, read_dataset(workspace.data), fit)


def _train(workspace: Workspace, run: Run, dataset: Dataset, fit: Fit) -> Run | None:
    with locked(run) if is_first_process() else nullcontext():
        return _train_locked(workspace, run, dataset, fit)


def _train_locked(workspace: Workspace, run: Run, dataset: Dataset, fit: Fit) -> Run | None:
    tracker = Tracker(workspace)
    if is_first_process():
        tracker.start(run)
        run = run.with_tracking_id(tracker.tracking_id or run.info.tracking_id)
    try:
        if not fit(run, dataset, tracker.log_epoch):
            return None
        # Training has noted where weights are from. Another run may have the name of a moved one.
        run = open_run(run.folder.parent, run.folder.name)
        plot_curves(run.metrics_file, run.folder / CURVES_FILE, run.name)
        if run.config.refit and run.info.twin is None:
            # No image is left to fit thresholds to: ``derma export`` asks for its twin.
            tracker.log_run(run)
            tracker.finish()
            return run
        bundle = export(run, dataset)
        if run.config.judges_a_part:
            predict_left_out(run, dataset)
        tracker.log_run(run)
        if not run.config.judges_a_part:
            # Others are no candidates for the champion: they were validated with other images.
            tracker.log_model(run, bundle, read_info(bundle).metrics["val"]["balanced_accuracy"])
    except KeyboardInterrupt:
        tracker.finish("KILLED")
        hint = f"Stopped; to go on: derma train --resume {run.name}{_engine_of(run)}"
        terminal(error=True, soft_wrap=True).print(hint)
        raise
    except BaseException:
        tracker.finish("FAILED")
        raise
    tracker.finish()
    return run


def _engine_of(run: Run) -> str:
    """Return the flags with which a run goes on where it was."""
    on_ray = (run.folder / WORKERS_FILE).is_file()
    return f" --engine ray --workers {read_workers(run)}" if on_ray else ""
