"""Evaluations in MLflow: figures beside the run they belong to."""

from pathlib import Path

import mlflow

from doctor_derma.tracking.store import open_store
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.workspace import Workspace


def log_evaluation(
    workspace: Workspace, tracking_id: str, split: str, metrics: dict[str, float], folder: Path
) -> None:
    """Add the figures, pictures and report of an evaluation to its run in MLflow."""
    tracker = Tracker(workspace)
    try:
        open_store(workspace)
        with mlflow.start_run(run_id=tracking_id):
            mlflow.log_metrics({f"{split}_{name}": value for name, value in metrics.items()})
            mlflow.log_artifacts(str(folder), f"evaluation/{split}")
    except Exception as error:  # as in tracker.py: the report on disk is what counts
        tracker.turn_off(error)


def log_comparison(workspace: Workspace, names: list[str], folder: Path) -> None:
    """Keep a comparison as a run of its own, with its report and pictures."""
    tracker = Tracker(workspace)
    try:
        experiment = open_store(workspace)
        title = "comparison of " + ", ".join(names)
        with mlflow.start_run(experiment_id=experiment, run_name=title):
            mlflow.set_tag("compared", ", ".join(names))
            mlflow.log_artifacts(str(folder), "comparison")
    except Exception as error:  # as above
        tracker.turn_off(error)
