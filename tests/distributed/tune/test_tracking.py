"""How trials end in MLflow, whatever became of them."""

from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from distributed.tune.sweeps import children, store, sweep
from doctor_derma.distributed.tune.folder import SweepFolder, create_sweep, open_sweep
from doctor_derma.distributed.tune.results import State, TrialRecord
from doctor_derma.distributed.tune.tracking import SweepTracker
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.workspace import Workspace
from project import new_run

ENDS: dict[State, tuple[str, str | None]] = {
    "complete": ("FINISHED", "false"),
    "stopped early": ("FINISHED", "true"),
    "failed": ("FAILED", "false"),
    "training": ("KILLED", None),
    "paused": ("KILLED", None),
}


@pytest.fixture
def made(root: Path, tmp_path: Path) -> SweepFolder:
    workspace = Workspace(root)
    return create_sweep(workspace, sweep(tmp_path), "ends", "synthetic", "0")


def trial(root: Path, name: str, parent: str, state: State) -> TrialRecord:
    """Make a trial that has trained an epoch and is RUNNING in MLflow."""
    run = new_run(root, name)
    tracker = Tracker(Workspace(root))
    tracker.start(run, parent=parent)
    tracker.finish("RUNNING")
    run = run.with_tracking_id(tracker.tracking_id)
    names = ("train_loss", "val_loss", "val_balanced_accuracy", "val_macro_auc", "learning_rate")
    pd.DataFrame([{"epoch": 0, **dict.fromkeys(names, 0.5)}]).to_csv(run.metrics_file, index=False)
    return TrialRecord(name, state, {}, {1: 0.5}, 1.0, run)


def test_no_trial_is_left_running(made: SweepFolder, root: Path) -> None:
    tracker = SweepTracker(Workspace(root), made)
    tracker.start()
    parent = str(tracker.tracking_id)
    records = [
        trial(root, f"ends_{number:02d}", parent, state)
        for number, state in enumerate(ENDS, start=1)
    ]
    trial(root, "ends_99", parent, "training")  # Of a driver that was killed; nobody knows it.
    client = store(root)
    assert {run.info.status for run in children(client, parent).values()} == {"RUNNING"}

    tracker.end_trials(records)

    tracked = children(client, parent)
    found = {
        record.state: (
            tracked[record.name].info.status,
            tracked[record.name].data.tags.get("pruned"),
        )
        for record in records
    }
    assert found == ENDS
    assert tracked["ends_99"].info.status == "KILLED"
    files = {file.path for file in client.list_artifacts(tracked["ends_02"].info.run_id)}
    assert files == {"config.yaml", "metrics.csv", "curves.png"}


def test_a_resumed_sweep_is_the_same_run(made: SweepFolder, root: Path) -> None:
    first = SweepTracker(Workspace(root), made)
    first.start()
    made.remember_tracking_id(first.tracking_id)
    first.finish("KILLED")
    client: MlflowClient = store(root)
    assert client.get_run(str(first.tracking_id)).info.status == "KILLED"

    again = SweepTracker(Workspace(root), open_sweep(Workspace(root), "ends"))
    again.start()

    assert again.tracking_id == first.tracking_id
    assert client.get_run(str(first.tracking_id)).info.status == "RUNNING"


def test_a_store_out_of_reach_stops_nothing(
    made: SweepFolder,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = SweepTracker(Workspace(root), made)
    tracker.start()
    tracker.end_trials([])
    tracker.finish("FINISHED")
    assert tracker.tracking_id is None
    assert capsys.readouterr().err.count("Tracking can't be reached") == 1
