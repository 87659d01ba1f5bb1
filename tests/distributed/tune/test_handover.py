"""A trial that takes over another one's state trains on with rates of its own."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from doctor_derma.data.manifest import read_dataset
from doctor_derma.distributed.tune.handover import (
    hand_over,
    open_trial,
    read_handover,
    take_over,
)
from doctor_derma.training.loop import train
from doctor_derma.training.runs import Run, has_ended, mark_ended
from project import copy_data, new_run, recipe

EPOCHS = 3
OWN = {"learning_rate": 6e-3, "weight_decay": 0.2, "epochs": EPOCHS}


class _KilledError(Exception):
    pass


def _killed_in_the_third_epoch(epoch: int, metrics: dict[str, float]) -> None:
    if epoch == EPOCHS - 1:
        raise _KilledError


@pytest.fixture(scope="module")
def given(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a trial hands over after two of three epochs; no test changes it."""
    root = copy_data(lesions, tmp_path_factory.mktemp("donor"))
    dataset = read_dataset(root / "data")
    donor = new_run(root, "donor", epochs=EPOCHS)
    with pytest.raises(_KilledError):
        train(donor, dataset, _killed_in_the_third_epoch)
    with hand_over(donor, 2) as folder:
        shutil.copytree(folder, root / "given")
    assert not list(donor.folder.glob(".handover-*"))
    return root / "given"


def test_weights_come_from_the_other_and_rates_are_its_own(root: Path, given: Path) -> None:
    dataset = read_dataset(root / "data")
    alone = new_run(root, "alone", **OWN)
    train(alone, dataset)
    handover = read_handover(given)
    assert (handover.trial, handover.epochs) == ("donor", 2)
    run = new_run(root, "taker", **OWN)
    take_over(handover, run)
    before = torch.load(handover.state, weights_only=False)["state_dict"]
    after = torch.load(run.last_checkpoint, weights_only=False)["state_dict"]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    train(run, dataset)
    own, other = (pd.read_csv(each.metrics_file) for each in (run, alone))
    assert list(own["epoch"]) == [2]
    assert own["learning_rate"].tolist() == pytest.approx(other["learning_rate"].tolist()[2:])
    groups = torch.load(run.last_checkpoint, weights_only=False)["optimizer_states"][0]
    assert [group["weight_decay"] for group in groups["param_groups"]] == [0.2, 0]
    assert run.best_checkpoint.is_file()


def best_epoch(run: Run) -> dict[str, tuple[str, str]]:
    """Return what a run's last checkpoint says of the best one: its path and its score."""
    callbacks = torch.load(run.last_checkpoint, weights_only=False)["callbacks"]
    kept = {name: callbacks[name] for name in callbacks if name.startswith("ModelCheckpoint")}
    return {
        name: (state["best_model_path"], str(state["best_model_score"]))
        for name, state in kept.items()
    }


def test_a_taker_keeps_its_own_best_epoch(root: Path, given: Path) -> None:
    run = new_run(root, "taker", **OWN)
    with pytest.raises(_KilledError):
        train(run, read_dataset(root / "data"), _killed_in_the_third_epoch)
    before = best_epoch(run)
    assert str(run.best_checkpoint.resolve()) in {path for path, _ in before.values()}
    take_over(read_handover(given), run)
    assert best_epoch(run) == before


def test_weights_of_a_file_are_handed_over_with_the_settings(root: Path) -> None:
    donor = new_run(root, "donor", pretrained=True, weights="x.pth")
    donor.last_checkpoint.write_bytes(b"state")
    with hand_over(donor, 1) as folder:
        assert read_handover(folder).config == donor.config


def test_a_trial_is_opened_where_it_was(root: Path) -> None:
    dataset = read_dataset(root / "data")
    runs = root / "mlflow" / "runs"
    config = recipe()
    made = open_trial(runs, "sweep_01", config, dataset, None)
    mark_ended(made)
    again = open_trial(runs, "sweep_01", config, dataset, None)
    assert again == made
    assert has_ended(again.folder)


def test_a_trial_that_was_drawn_anew_begins_anew(root: Path) -> None:
    dataset = read_dataset(root / "data")
    runs = root / "mlflow" / "runs"
    mark_ended(open_trial(runs, "sweep_01", recipe(), dataset, None))
    other = open_trial(runs, "sweep_01", recipe(learning_rate=1e-5), dataset, None)
    assert other.config.learning_rate == 1e-5
    assert not has_ended(other.folder)


def test_a_folder_that_was_half_made_is_made_again(root: Path) -> None:
    runs = root / "mlflow" / "runs"
    (runs / "sweep_01" / "checkpoints").mkdir(parents=True)
    run = open_trial(runs, "sweep_01", recipe(), read_dataset(root / "data"), None)
    assert run.config == recipe()


def test_a_taker_keeps_its_name_and_takes_the_settings(root: Path, given: Path) -> None:
    dataset = read_dataset(root / "data")
    runs = root / "mlflow" / "runs"
    mark_ended(open_trial(runs, "taker", recipe(epochs=EPOCHS), dataset, None))
    run = open_trial(runs, "taker", recipe(**OWN), dataset, read_handover(given))
    assert run.name == "taker"
    assert open_trial(runs, "taker", recipe(**OWN), dataset, None).config == recipe(**OWN)
    assert torch.load(run.last_checkpoint, weights_only=False)["epoch"] == 1
    assert not has_ended(run.folder)
