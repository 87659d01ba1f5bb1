"""A run that is killed or interrupted goes on where it was."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from doctor_derma.commands.runs import resume_run, start_run
from doctor_derma.data.manifest import read_dataset
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.training import loop
from doctor_derma.training.loop import train
from doctor_derma.training.module import LesionModule
from doctor_derma.training.runs import Run, open_run
from doctor_derma.workspace import Workspace
from project import DERMA, copy_data, flags, new_run, own_environment, recipe

EPOCHS = 8


def epochs_on_disk(metrics: Path) -> list[int]:
    return list(pd.read_csv(metrics)["epoch"]) if metrics.is_file() else []


@pytest.fixture(scope="module")
def killed(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A run that got SIGKILL while it trained its third epoch or a little later."""
    root = copy_data(lesions, tmp_path_factory.mktemp("killed"))
    # Batches of two, so that most of an epoch's time is steps.
    command = ["train", "--name", "killed", *flags(epochs=EPOCHS, batch_size=2)]
    process = subprocess.Popen(
        [str(DERMA), "--root", str(root), *command],
        stderr=subprocess.PIPE,
        text=True,
        env=own_environment(),
    )
    metrics = root / "mlflow" / "runs" / "killed" / "metrics.csv"
    deadline = time.monotonic() + 120
    while len(epochs_on_disk(metrics)) < 2:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return Workspace(root)


def test_a_killed_run_loses_at_most_one_epoch(
    killed: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    before = pd.read_csv(open_run(killed.runs, "killed").metrics_file)
    assert 2 <= len(before) < EPOCHS
    begun: list[int] = []

    run = resume_run(killed, "killed")

    assert run is not None
    shown = [line for line in capfd.readouterr().err.splitlines() if line.startswith("epoch ")]
    begun = [int(line.split()[1].split("/")[0]) - 1 for line in shown]
    assert begun == list(range(begun[0], EPOCHS))
    assert len(before) - 1 <= begun[0] <= len(before)
    after = pd.read_csv(run.metrics_file)
    assert list(after["epoch"]) == list(range(EPOCHS))
    pd.testing.assert_frame_equal(after[: begun[0]], before[: begun[0]])
    # The schedule went on as well: it ends where an undisturbed run ends.
    assert after["learning_rate"].iloc[-1] == pytest.approx(2e-6, rel=0.2)
    assert (run.bundle / "model.json").is_file()

    client = MlflowClient(f"sqlite:///{killed.tracking_database}")
    [tracked] = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert tracked.info.run_id == run.info.tracking_id
    assert tracked.info.status == "FINISHED"
    steps = {metric.step for metric in client.get_metric_history(run.info.tracking_id, "val_loss")}
    assert steps == set(range(EPOCHS))


def test_a_finished_run_goes_on_to_the_same(root: Path) -> None:
    run, dataset = new_run(root, "done"), read_dataset(root / "data")
    train(run, dataset)
    before = run.metrics_file.read_text()
    assert train(open_run(run.folder.parent, "done"), dataset)
    assert run.metrics_file.read_text() == before


def test_a_run_that_was_moved_goes_on_where_it_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may have its name by then."""
    monkeypatch.setattr(Tracker, "log_run", lambda *_: None)
    epoch = {"epoch": 0, "train_loss": 1.0, "val_loss": 1.0, "learning_rate": 0.1}
    scores = {"val_balanced_accuracy": 0.5, "val_macro_auc": 0.5}

    def fit(run: Run, *_: object) -> bool:
        pd.DataFrame([epoch | scores]).to_csv(run.metrics_file, index=False)
        return True

    moved = tmp_path / "moved"
    # A refit, as that ends without a bundle.
    new_run(root, "first", refit=True).folder.rename(moved)
    new_run(root, "first")
    run = resume_run(Workspace(root), str(moved), fit)
    assert run is not None
    assert run.folder == moved


def test_an_interrupted_run_says_how_to_go_on(
    lesions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    workspace = Workspace(copy_data(lesions, tmp_path))
    log_epoch = Tracker.log_epoch

    def interrupt(tracker: Tracker, epoch: int, metrics: dict[str, float]) -> None:
        log_epoch(tracker, epoch, metrics)
        if epoch == 1:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Tracker, "log_epoch", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            start_run(workspace, recipe(epochs=3, pretrained=False), "stopped")
    finally:
        signal.signal(signal.SIGINT, before)
    assert "to go on: derma train --resume stopped" in capfd.readouterr().err
    client = MlflowClient(f"sqlite:///{workspace.tracking_database}")
    tracking_id = open_run(workspace.runs, "stopped").info.tracking_id
    assert tracking_id is not None
    assert client.get_run(tracking_id).info.status == "KILLED"

    monkeypatch.setattr(Tracker, "log_epoch", log_epoch)
    run = resume_run(workspace, "stopped")
    assert run is not None
    assert list(pd.read_csv(run.metrics_file)["epoch"]) == [0, 1, 2]
    assert client.get_run(tracking_id).info.status == "FINISHED"


def test_going_on_needs_no_hub(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start fetches weights; the checkpoint of its first epoch holds them all."""
    asked: list[bool] = []

    class Recorder(LesionModule):
        def __init__(self, config, *others) -> None:  # type: ignore[no-untyped-def]
            asked.append(config.pretrained)
            super().__init__(config.model_copy(update={"pretrained": False}), *others)

    monkeypatch.setattr(loop, "LesionModule", Recorder)
    run, dataset = new_run(root, "fetched", pretrained=True, epochs=1), read_dataset(root / "data")
    train(run, dataset)
    train(run, dataset)
    assert asked == [True, False]
