"""What a run leaves in MLflow, read back with MLflow's own client."""

from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Run as TrackedRun
from mlflow.tracking import MlflowClient

from doctor_derma.inference.predict import run_predict
from doctor_derma.tracking.registry import model_name
from doctor_derma.tracking.store import open_store
from doctor_derma.tracking.tracker import log_evaluation
from doctor_derma.workspace import Workspace
from project import Project


@pytest.fixture(scope="module")
def client(tiny_run: Project) -> MlflowClient:
    return MlflowClient(f"sqlite:///{tiny_run.workspace.tracking_database}")


@pytest.fixture(scope="module")
def tracked(tiny_run: Project, client: MlflowClient) -> TrackedRun:
    assert tiny_run.run.info.tracking_id is not None
    return client.get_run(tiny_run.run.info.tracking_id)


def test_runs_and_artifacts_lie_in_the_root_wherever_it_was_started(
    tiny_run: Project, tracked: TrackedRun
) -> None:
    """The fixture runs from another directory, and sees to it that this stays empty."""
    root = tiny_run.workspace.root
    assert (root / "mlflow" / "db" / "mlflow.db").is_file()
    artifacts = root / "mlflow" / "artifacts"
    assert tracked.info.artifact_uri.startswith(artifacts.as_uri())
    assert sorted(path.name for path in (root / "mlflow").iterdir()) == ["artifacts", "db", "runs"]


def test_parameters_tags_and_status(tiny_run: Project, tracked: TrackedRun) -> None:
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_name == "tiny"
    expected = {key: str(value) for key, value in tiny_run.run.config.model_dump().items()}
    assert tracked.data.params == expected
    info = tiny_run.run.info
    for tag in ("git_commit", "version", "data_name", "data_fingerprint"):
        assert tracked.data.tags[tag] == getattr(info, tag)


def test_metrics_of_every_epoch(
    tiny_run: Project, tracked: TrackedRun, client: MlflowClient
) -> None:
    written = pd.read_csv(tiny_run.run.metrics_file)
    for name in written.columns.drop("epoch"):
        history = client.get_metric_history(tracked.info.run_id, name)
        assert [metric.step for metric in history] == [0, 1]
        assert [metric.value for metric in history] == pytest.approx(list(written[name]))


def test_metrics_of_the_system(tracked: TrackedRun) -> None:
    system = {name for name in tracked.data.metrics if name.startswith("system/")}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= system


def test_files_checkpoint_and_model(tracked: TrackedRun, client: MlflowClient) -> None:
    def names(folder: str | None = None) -> set[str]:
        return {file.path for file in client.list_artifacts(tracked.info.run_id, folder)}

    assert {"config.yaml", "run.json", "metrics.csv", "curves.png", "checkpoints"} <= names()
    assert names("checkpoints") == {"checkpoints/best.ckpt"}


def test_an_evaluation_leaves_its_run_as_training_ended_it(root: Path) -> None:
    workspace, report = Workspace(root), root / "report"
    report.mkdir()
    (report / "report.html").write_text("all of it")
    before = mlflow.get_tracking_uri()
    try:
        started = mlflow.start_run(experiment_id=open_store(workspace))
        mlflow.end_run("KILLED")
        tracking_id = started.info.run_id
        log_evaluation(workspace, tracking_id, "test", {"accuracy": 0.5}, report)
    finally:
        mlflow.set_tracking_uri(before)
    client = MlflowClient(f"sqlite:///{workspace.tracking_database}")
    tracked = client.get_run(tracking_id)
    assert tracked.info.status == "KILLED"
    assert tracked.data.metrics == {"test_accuracy": 0.5}
    [file] = client.list_artifacts(tracking_id, "evaluation/test")
    assert file.path == "evaluation/test/report.html"


def test_the_registered_champion_predicts_what_derma_predict_writes(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_run.workspace.data
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    paths = [str(data / path) for path in tiny_run.dataset.split("test")["path"]]
    paths.insert(3, str(tmp_path / "bad.jpg"))
    assert run_predict(paths, tiny_run.run.bundle, "csv", tmp_path / "rows.csv") == 1
    expected = pd.read_csv(tmp_path / "rows.csv", keep_default_na=False, na_values={"mel": [""]})

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tiny_run.workspace.tracking_database}")
    try:
        model = mlflow.pyfunc.load_model(f"models:/{model_name('synthetic')}@champion")
    finally:
        mlflow.set_tracking_uri(before)
    table = model.predict(pd.DataFrame({"path": paths}))

    assert list(table.columns) == ["path", "label", "rule", *tiny_run.dataset.classes, "error"]
    assert list(table["path"]) == paths
    assert list(table["label"]) == list(expected["label"])
    assert list(table["error"]) == list(expected["error"])
    assert table["error"][3] != ""
    for name in tiny_run.dataset.classes:
        found = pd.to_numeric(expected[name], errors="coerce")
        pd.testing.assert_series_equal(table[name], found, rtol=1e-5, check_dtype=False)
