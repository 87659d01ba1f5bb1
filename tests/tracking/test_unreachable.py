"""A run goes on without MLflow: one warning, and its metrics on disk."""

import shutil
import socket
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from doctor_derma.bundle import read_info
from doctor_derma.commands.evaluate import evaluate_model
from doctor_derma.tracking import tracker
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.training.runs import open_run
from doctor_derma.workspace import Workspace
from project import Project, new_run, shallow, train_tiny

WARNING = "Tracking can't be reached"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def assert_whole_but_untracked(project: Project, error: str) -> None:
    assert list(pd.read_csv(project.run.metrics_file)["epoch"]) == [0, 1]
    assert read_info(project.run.bundle).run == project.run.name
    assert error.count(WARNING) == 1
    [line] = [line for line in error.splitlines() if WARNING in line]
    assert "the run goes on without it (metrics stay in the run's folder)" in line
    assert "Traceback" not in error


def test_an_unreachable_server(
    root: Path,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    shutil.rmtree(root / "mlflow")
    project = train_tiny(root, "alone", model=shallow())
    assert_whole_but_untracked(project, capfd.readouterr().err)
    assert not (root / "mlflow" / "db").exists()


def test_a_broken_database(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    database = Workspace(root).tracking_database
    database.write_bytes(b"this is no database" * 100)
    project = train_tiny(root, "alone", model=shallow())
    assert_whole_but_untracked(project, capfd.readouterr().err)
    assert database.read_bytes() == b"this is no database" * 100


def test_a_store_that_fails_midway(
    tiny_run: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No step tries again, and nothing of MLflow is left running for the end of the process."""
    workspace = Workspace(tmp_path)
    run = tiny_run.run
    untracked = replace(run, info=replace(run.info, tracking_id=None))
    calls: list[str] = []

    def fail(*args: object, **kwargs: object) -> None:
        calls.append("log_metrics")
        raise ConnectionError("the server is gone")

    mlflow_tracker = Tracker(workspace)
    mlflow_tracker.start(untracked)
    assert mlflow.active_run() is not None
    monkeypatch.setattr(tracker.mlflow, "log_metrics", fail)
    for epoch in range(3):
        mlflow_tracker.log_epoch(epoch, {"val_loss": 1.0})
    mlflow_tracker.log_run(run)
    mlflow_tracker.log_model(run, run.bundle, 0.5)
    mlflow_tracker.finish()
    assert calls == ["log_metrics"]
    assert mlflow.active_run() is None
    assert capfd.readouterr().err.count(WARNING) == 1


def test_a_failed_run_is_marked_as_failed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from doctor_derma.commands import runs
    from doctor_derma.errors import DermaError

    def fail(*args: object) -> None:
        raise DermaError("parity: not today")

    monkeypatch.setattr(runs, "export", fail)
    with pytest.raises(DermaError, match="parity"):
        train_tiny(root, "failing")
    run = open_run(Workspace(root).runs, "failing")
    client = mlflow.MlflowClient(f"sqlite:///{Workspace(root).tracking_database}")
    assert run.info.tracking_id is not None
    assert client.get_run(run.info.tracking_id).info.status == "FAILED"
    assert mlflow.active_run() is None


def test_a_run_that_never_began_leaves_no_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from doctor_derma.errors import DermaError

    monkeypatch.setattr(Tracker, "start", lambda *args: None)
    with pytest.raises(DermaError, match="use a convolutional network"):
        train_tiny(root, "vit", model="timm/test_vit")
    assert list(Workspace(root).runs.iterdir()) == []
    new_run(root, "vit")


@pytest.mark.usefixtures("undrawn")
def test_an_evaluation_is_written_all_the_same(
    tiny_run: Project,
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(Workspace, "evaluation_images", property(lambda self: tmp_path / "images"))
    predictions, figures, folder = evaluate_model(tiny_run.workspace, "tiny", "test")
    assert (folder / "report.html").is_file()
    assert len(predictions.labels) == 14
    assert 0 <= figures.metrics["balanced_accuracy"].value <= 1
    assert capfd.readouterr().err.count(WARNING) == 1
