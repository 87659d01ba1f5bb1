"""Every epoch reaches the driver once, with the values that were kept."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from doctor_derma.distributed.train.messages import EpochMeasured, EpochsKept, WorkersFailed
from doctor_derma.distributed.train.progress import Listener
from doctor_derma.training.runs import Run
from project import new_run

Heard = list[tuple[int, float]]


@pytest.fixture
def run(root: Path) -> Run:
    return new_run(root, "heard", epochs=4)


def measured(epoch: int, loss: float) -> EpochMeasured:
    return EpochMeasured(epoch, {"train_loss": loss, "images_per_second": 1.0, "seconds": 1.0})


def keep(run: Run, epochs: int) -> None:
    torch.save({"epoch": epochs - 1}, run.last_checkpoint)


def listener(run: Run, heard: Heard) -> Listener:
    return Listener(run, 2, lambda epoch, metrics: heard.append((epoch, metrics["train_loss"])))


def test_an_epoch_trained_twice_is_handed_on_once_as_it_was_kept(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    heard: Heard = []
    with listener(run, heard) as listening:
        listening.hear(EpochsKept(0))
        listening.hear(measured(0, 0.9))
        assert heard == []
        listening.hear(EpochsKept(1))
        listening.hear(measured(1, 0.8))
        keep(run, 1)
        listening.hear(WorkersFailed({1: "RuntimeError: [/a/tcp/pair.cc:545] closed"}))
        listening.hear(EpochsKept(1))
        listening.hear(measured(1, 0.7))
        listening.hear(EpochsKept(2))
        listening.hear(EpochsKept(2))
    assert heard == [(0, 0.9), (1, 0.7)]
    lines = capfd.readouterr().err.splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/4", "Lost work", "epoch 2/4"]
    assert (
        lines[1]
        == "Lost worker 1 (RuntimeError: [/a/tcp/pair.cc:545] closed); going on after epoch 1"
    )


def test_what_was_kept_while_nobody_listened_is_read_from_the_run(run: Run) -> None:
    heard: Heard = []
    table = pd.DataFrame({"epoch": [0, 1], "train_loss": [0.1, 1 / 3], "val_loss": [None, 0.5]})
    table = table.assign(images_per_second=1.0, seconds=1.0)
    with listener(run, heard):
        table.to_csv(run.metrics_file, index=False)
        keep(run, 2)
    assert heard == [(0, 0.1), (1, 1 / 3)]


def test_an_epoch_that_was_not_kept_is_not_handed_on(run: Run) -> None:
    heard: Heard = []
    with listener(run, heard) as listening:
        listening.hear(measured(0, 0.9))
    assert heard == []


def test_a_resumed_run_does_not_hand_on_what_an_earlier_one_did(run: Run) -> None:
    heard: Heard = []
    pd.DataFrame({"epoch": [0, 1, 2], "train_loss": [0.9, 0.8, 0.7]}).to_csv(run.metrics_file)
    keep(run, 2)
    with listener(run, heard) as listening:
        listening.hear(EpochsKept(2))
        listening.hear(measured(2, 0.6))
        listening.hear(EpochsKept(3))
    assert heard == [(2, 0.6)]
