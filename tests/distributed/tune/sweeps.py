"""Sweeps that take seconds, and what they leave in MLflow."""

from pathlib import Path
from typing import Any

import yaml
from mlflow.entities import Run as TrackedRun
from mlflow.tracking import MlflowClient

from doctor_derma.distributed.tune.sweep import Sweep, read_sweep
from doctor_derma.workspace import Workspace
from project import RECIPE

SWEEP: dict[str, Any] = {
    "base": RECIPE,
    "space": {"learning_rate": {"loguniform": [1e-5, 1e-2]}},
    "trials": 2,
    "scheduler": "none",
}


def write_sweep(path: Path, **changes: Any) -> Path:
    """Write the YAML file of a sweep of two trials, with changes; None leaves a key out."""
    values = {key: value for key, value in (SWEEP | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(values))
    return path


def sweep(folder: Path, **changes: Any) -> Sweep:
    return read_sweep(write_sweep(folder / "sweep.yaml", **changes))


def store(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{Workspace(root).tracking_database}")


def children(client: MlflowClient, parent: str) -> dict[str, TrackedRun]:
    """Return the runs under a sweep's run, by name."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    query = f"tags.`mlflow.parentRunId` = '{parent}'"
    return {str(run.info.run_name): run for run in client.search_runs(experiments, query)}


def tracked_as(client: MlflowClient, name: str) -> TrackedRun:
    """Return the only run of a name."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    (found,) = client.search_runs(experiments, f"tags.mlflow.runName = '{name}'")
    return found
