"""A run that is killed or interrupted goes on where it was."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient

from doctor_derma.commands.runs import resume_run, start_run
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.training import loop
from doctor_derma.training.batches import Batch, PixelRows
from doctor_derma.training.checkpoints import finished_epochs
from doctor_derma.training.loop import train
from doctor_derma.training.module import MONITOR, LesionModule
from doctor_derma.training.runs import Run, RunIsStopped, open_run
from doctor_derma.workspace import Workspace
from project import DERMA, copy_data, flags, new_run, own_environment, recipe, shallow

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


STOPPED_EARLY = {"epochs": 30, "patience": 1, "learning_rate": 1e-9, "ema_decay": 0.0}


@pytest.mark.parametrize("changes", [{}, STOPPED_EARLY], ids=["all epochs", "stopped early"])
def test_a_finished_run_goes_on_to_the_same(changes: dict[str, object], root: Path) -> None:
    run, dataset = new_run(root, "done", **changes), read_dataset(root / "data")
    train(run, dataset)
    before = run.metrics_file.read_text()
    assert train(open_run(run.folder.parent, "done"), dataset)
    assert run.metrics_file.read_text() == before


def train_until(epoch: int, run: Run, dataset: Dataset) -> None:
    """Train a run, and stop it before an epoch, counted from 0, is kept."""

    def stop(reached: int, metrics: dict[str, float]) -> None:
        if reached == epoch:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(run, dataset, stop)


def test_no_two_resumes_draw_the_same_batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[int]] = []
    rows = PixelRows.__getitems__

    def recorded(pixels: PixelRows, indices: list[int]) -> Batch:
        read.append(list(indices))
        return rows(pixels, indices)

    monkeypatch.setattr(PixelRows, "__getitems__", recorded)
    run, dataset = new_run(root, "killed", epochs=3), read_dataset(root / "data")
    train_until(1, run, dataset)
    read.clear()
    train_until(2, run, dataset)
    second_epoch = read[0]
    read.clear()
    train(run, dataset)
    assert len(second_epoch) == len(read[0]) == run.config.batch_size
    assert second_epoch != read[0]


def test_a_moved_run_keeps_its_best_epoch(root: Path, tmp_path: Path) -> None:
    run, dataset = new_run(root, "first", epochs=3), read_dataset(root / "data")
    train_until(2, run, dataset)
    state = torch.load(run.last_checkpoint, weights_only=False)
    [best] = [
        kept
        for name, kept in state["callbacks"].items()
        if name.startswith("ModelCheckpoint") and MONITOR in name
    ]
    # More than any later epoch can have.
    best["best_k_models"] = dict.fromkeys(best["best_k_models"], torch.tensor(2.0))
    torch.save(state, run.last_checkpoint)
    before = run.best_checkpoint.read_bytes()
    moved = open_run(run.folder.rename(tmp_path / "moved").parent, "moved")
    train(moved, dataset)
    assert finished_epochs(moved.last_checkpoint) == 3
    assert moved.best_checkpoint.read_bytes() == before


def test_a_run_goes_on_with_as_many_steps_as_it_began_with(root: Path) -> None:
    """Another number of processes changes them as another batch size does."""
    run, dataset = new_run(root, "begun", epochs=3), read_dataset(root / "data")
    train_until(1, run, dataset)
    before = run.last_checkpoint.read_bytes()
    message = "the run began with 6 steps, .* would have 15 here; go on with as many processes"
    with pytest.raises(DermaError, match=message):
        train(run.with_config(recipe(epochs=3, batch_size=8)), dataset)
    assert run.last_checkpoint.read_bytes() == before


def test_a_run_that_can_go_on_keeps_its_folder(root: Path) -> None:
    def fit(*_: object) -> bool:
        raise RunIsStopped("the cluster was lost")

    with pytest.raises(RunIsStopped):
        start_run(Workspace(root), recipe(), "lost", fit)
    assert open_run(Workspace(root).runs, "lost").name == "lost"


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
            start_run(workspace, recipe(model=shallow(), epochs=3), "stopped")
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
    run, dataset = new_run(root, "fetched", pretrained=True), read_dataset(root / "data")
    train_until(1, run, dataset)
    train(run, dataset)
    assert asked == [True, False]
