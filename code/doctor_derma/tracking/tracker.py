"""What goes into MLflow: runs, evaluations and comparisons, none of which it can stop."""

import functools
import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import mlflow

from doctor_derma.errors import DermaError, kind_and_line
from doctor_derma.terminal import terminal
from doctor_derma.tracking.registry import register_bundle
from doctor_derma.tracking.store import open_store
from doctor_derma.training.runs import Run
from doctor_derma.workspace import Workspace

# What of a run's origin is in its tags.
INFO_TAGS = ("git_commit", "version", "data_name", "data_fingerprint")
P = ParamSpec("P")


class Guard:
    """Warns once and stays silent when MLflow can't be reached; what is tracked goes on."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.reachable = True

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Turn tracking off for the rest when what is done in this context fails; say why."""
        try:
            yield
        except Exception as error:  # MLflow raises its own, its HTTP library's and SQLAlchemy's
            self.reachable = False
            with suppress(Exception):  # A run left open would be tried again when Python ends.
                mlflow.end_run("FAILED")
            # Only the beginning of what is not ours.
            reason = str(error) if isinstance(error, DermaError) else kind_and_line(error)
            terminal(error=True, soft_wrap=True).print(
                f"Tracking can't be reached, the run goes on without it "
                f"(metrics stay in the run's folder): {reason}",
                style="yellow",
            )


T = TypeVar("T", bound=Guard)


def guarded(step: Callable[Concatenate[T, P], None]) -> Callable[Concatenate[T, P], None]:
    """Attempt a step of tracking, unless one before it failed."""

    @functools.wraps(step)
    def tried(tracker: T, *args: P.args, **kwargs: P.kwargs) -> None:
        if tracker.reachable:
            with tracker.attempt():
                step(tracker, *args, **kwargs)

    return tried  # type: ignore[return-value]  # mypy takes it for functools' own class


class Tracker(Guard):
    """Logs one run to MLflow.

    What a run measures is in its own folder as well, so nothing is lost where it can't be reached.
    """

    tracking_id: str | None = None

    @guarded
    def start(
        self, run: Run, parent: str | None = None, tags: dict[str, str] | None = None
    ) -> None:
        """Open the run in MLflow, or go on with the one it was tracked as.

        Parameters
        ----------
        parent : id in MLflow of the run that this one is part of
        tags : set beside those of every run, on a run gone on with too
        """
        experiment = open_store(self.workspace)
        # MLflow says once a run that system metrics are on; the run's own lines are enough.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        place: dict[str, Any] = {"experiment_id": experiment, "parent_run_id": parent}
        if known := run.info.tracking_id:
            _refuse_deleted(known)
            place = {"run_id": known}
        started = mlflow.start_run(run_name=run.name, log_system_metrics=True, **place)
        self.tracking_id = started.info.run_id
        tags = dict(tags or {})
        if not known:
            mlflow.log_params(run.config.model_dump())
            tags |= {name: getattr(run.info, name) for name in INFO_TAGS}
            tags["run_folder"] = str(run.folder)
        mlflow.set_tags(tags)

    @guarded
    def log_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Log the metrics of one epoch."""
        mlflow.log_metrics(metrics, step=epoch)

    @guarded
    def log_run(self, run: Run) -> None:
        """Log the files of a finished run: recipe, metrics, plot and best checkpoint."""
        for path in sorted(run.folder.glob("*.*")):
            mlflow.log_artifact(str(path))
        mlflow.log_artifact(str(run.best_checkpoint), "checkpoints")

    @guarded
    def log_model(self, run: Run, bundle: Path, score: float) -> None:
        """Log a bundle as a model, register it, and make it champion if it is the best."""
        register_bundle(bundle, run.info.data_name, run.info.classes, score)

    @guarded
    def finish(self, status: str = "FINISHED") -> None:
        """Close the run in MLflow as FINISHED, FAILED or KILLED."""
        if mlflow.active_run():
            mlflow.end_run(status)


def _refuse_deleted(tracking_id: str) -> None:
    if mlflow.get_run(tracking_id).info.lifecycle_stage == "deleted":
        address = shlex.quote(mlflow.get_tracking_uri())
        raise DermaError(
            f"its run in MLflow was deleted; bring it back with "
            f"'MLFLOW_TRACKING_URI={address} mlflow runs restore --run-id {tracking_id}'"
        )


def log_evaluation(
    workspace: Workspace, tracking_id: str, split: str, metrics: dict[str, float], folder: Path
) -> None:
    """Add the figures, pictures and report of an evaluation to its run in MLflow."""
    with Guard(workspace).attempt():
        open_store(workspace)
        named = {f"{split}_{name}": value for name, value in metrics.items()}
        # Not by starting it, which would change how its training ended.
        mlflow.log_metrics(named, run_id=tracking_id)
        mlflow.log_artifacts(str(folder), f"evaluation/{split}", run_id=tracking_id)


def log_comparison(workspace: Workspace, names: list[str], folder: Path) -> None:
    """Keep a comparison as a run of its own, with its report and pictures."""
    with Guard(workspace).attempt():
        experiment, listed = open_store(workspace), ", ".join(names)
        with mlflow.start_run(experiment_id=experiment, run_name=f"comparison of {listed}"):
            mlflow.set_tag("compared", listed)
            mlflow.log_artifacts(str(folder), "comparison")
