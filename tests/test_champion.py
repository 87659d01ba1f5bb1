"""`code/champion`: what its networks see, learn from and are judged by."""

import importlib
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

SCRIPTS = Path(__file__).parents[1] / "code" / "champion"


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        return importlib.import_module(name)


jobs, judging, packed, training = map(script, ("jobs", "judging", "packed", "training"))
JOB = jobs.Job("a", "resnet18", "mild", 10)
CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path: Path) -> "packed.PackedImages":
    """80 images of two classes and two sources, the last 20 in the test split."""
    numbers = np.arange(80)
    table = {
        "image": numbers,
        "lesion": [f"lesion {number}" for number in numbers],
        "class": np.array(["mel", "nv"])[numbers % 2],
        "split": np.where(numbers < 60, "train", "test"),
        "source": np.array(["here", "there"])[numbers // 2 % 2],
    }
    pd.DataFrame(table).to_csv(tmp_path / "images.csv", index=False)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 24, 32, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    return packed.PackedImages(tmp_path, CPU)


@pytest.mark.parametrize("left_out", ["", "fold:0", "fold:3", "source:here"])
def test_what_is_left_out_and_the_test_split_are_never_learnt_from(
    images: "packed.PackedImages", left_out: str
) -> None:
    known = images.known(left_out)
    assert not known[60:].any()
    kind, _, value = left_out.partition(":")
    of = {"": np.full(80, "all"), "fold": images.folds, "source": images.table["source"]}[kind]
    assert known[:60].tolist() == [str(one) != value for one in of[:60]]
    assert 0 < known.sum() <= 60


def test_batches_hold_each_class_as_often_as_the_cap_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "CLASS_CAP", 6)
    labels = np.array([0] * 30 + [1] * 4)  # The last row of each class is kept from training.
    rows = np.array([*range(29), *range(30, 33)])
    job, random = replace(JOB, batch=3), np.random.default_rng(0)
    batches = training.row_batches(job, rows, labels, np.zeros(34), random)
    epoch = np.concatenate(list(islice(batches, 3)))  # 6 of one class and 3 of the other.
    assert len(set(epoch)) == 9
    assert set(epoch) <= set(rows)
    assert np.bincount(labels[epoch]).tolist() == [6, 3]


def test_a_batch_of_a_student_is_of_one_fold() -> None:
    folds, labels = np.arange(40) % 4, np.zeros(40, dtype=int)
    job, random = replace(JOB, batch=5, teachers=True), np.random.default_rng(0)
    batches = training.row_batches(job, np.arange(40), labels, folds, random)
    shown = [set(folds[batch]) for batch in islice(batches, 8)]
    assert all(len(of) == 1 for of in shown)
    assert set.union(*shown) == {0, 1, 2, 3}


def sure_of(label: int) -> nn.Module:
    """Return a network that gives one class a logit of 3, whatever it sees."""
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    network(torch.zeros(1, 3, *packed.SIZE))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(3.0 * nn.functional.one_hot(torch.tensor(label), 2))
    return network


def test_a_student_is_taught_by_those_that_have_not_seen_the_fold(
    images: "packed.PackedImages", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One network says the same class everywhere, the other one another class for odd folds.
    networks = {fold: [sure_of(fold % 2), sure_of(0)] for fold in range(packed.FOLDS)}
    monkeypatch.setattr(training, "fold_networks", lambda *_: networks)
    job, counts = replace(JOB, batch=4, teachers=True), torch.tensor([30.0, 10.0])
    random = np.random.default_rng(0)
    draw = training.draws_of(job, images, tmp_path, counts, random)
    batches = training.row_batches(
        *(job, np.flatnonzero(images.known("")), images.labels, images.folds),
        np.random.default_rng(0),
    )
    shares = counts / counts.sum()
    for _ in range(6):
        chosen = next(batches)
        [said] = set(images.folds[chosen] % 2)
        logits = 1.5 * nn.functional.one_hot(torch.tensor([said, 0]), 2).sum(0)
        soft = torch.softmax(logits + shares.log(), 0)
        hard = nn.functional.one_hot(torch.from_numpy(images.labels[chosen]), 2)
        drawn, targets = draw()
        assert drawn.shape == (4, 3, *packed.SIZE)
        assert torch.allclose(targets, 0.7 * soft + 0.3 * hard, atol=1e-6)


def test_teachers_of_a_fold_are_the_networks_trained_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "load_network", lambda model, path, _: Loaded(model, path.name))
    teachers = training.fold_networks(tmp_path, 2, CPU)
    found = {(one.model, one.name, f"fold:{fold}") for fold, of in teachers.items() for one in of}
    assert found == {(job.model, job.name, job.left_out) for job in jobs.fold_jobs()}


class Loaded(nn.Identity):
    def __init__(self, model: str, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name


@pytest.mark.slow
def test_a_job_goes_on_from_another_and_its_first_stages_stay(tmp_path: Path) -> None:
    before, other = (training.create_network(packed.BACKBONE, 2) for _ in range(2))
    training.save_file(before.state_dict(), tmp_path / "before.safetensors")
    training.save_file(other.backbone.state_dict(), tmp_path / "imagenet.safetensors")
    job = replace(JOB, model=packed.BACKBONE, start="before", frozen=True)
    network = training.first_network(job, tmp_path, 2)
    weights = before.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    learnt = [weight.requires_grad for weight in network.parameters()]
    assert not learnt[0]
    assert learnt[-1]


def fit_line(checkpoint: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Train so many of ten steps, each of which writes a checkpoint."""
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 1)
    torch.manual_seed(0)
    network = nn.Linear(4, 2)
    images, targets = torch.randn(8, 4), torch.eye(2)[torch.arange(8) % 2]
    left = iter(range(training.steps_done(checkpoint), 10))

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        step = next(left)
        if step == steps:
            raise TimeoutError
        return images + step / 10, targets

    job = replace(JOB, images=80, batch=8, learning_rate=0.1, ema_decay=0.9)
    return training.fit(network, draw, torch.tensor([4.0, 4.0]), checkpoint, job)


def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit_line(tmp_path / "whole.ckpt", 10, monkeypatch).state_dict()
    with pytest.raises(TimeoutError):
        fit_line(tmp_path / "stopped.ckpt", 6, monkeypatch)
    assert training.steps_done(tmp_path / "stopped.ckpt") == 6
    again = fit_line(tmp_path / "stopped.ckpt", 10, monkeypatch).state_dict()
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], value) for name, value in whole.items())


@pytest.mark.slow
def test_a_job_is_trained_once_and_keeps_what_it_says_of_unseen_images(
    images: "packed.PackedImages", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 1)

    def fresh(*_: object) -> nn.Module:
        return training.create_network(JOB.model, 2)

    monkeypatch.setattr(training, "first_network", fresh)
    job = replace(JOB, images=32, batch=16, left_out="fold:1")
    assert training.train_job(job, tmp_path).startswith("a: ")
    found = np.load(tmp_path / "a.npz")
    assert found["trained_on"].tolist() == images.known("fold:1").tolist()
    assert (np.isnan(found["logits"][0, :, 0]) == found["trained_on"]).all()
    network = training.load_network(JOB.model, tmp_path / "a", 2)
    seen = torch.from_numpy(np.flatnonzero(~found["trained_on"]))
    with torch.inference_mode():
        expected = network(training.scale_pixels(images.pixels[seen])).numpy()
    assert found["logits"][0, seen] == pytest.approx(expected, abs=1e-4)
    assert not (tmp_path / "a.ckpt").exists()
    assert training.train_job(job, tmp_path) == "a: done before"


def test_between_weights_counts_are_the_last_ones() -> None:
    start = {"weight": torch.tensor([1.0, -2.0]), "batches": torch.tensor(3)}
    end = {"weight": torch.tensor([2.0, 4.0]), "batches": torch.tensor(8)}
    found = judging.between(start, end, 0.25)
    assert found["weight"].tolist() == [1.25, -0.5]
    assert found["batches"].item() == 8


def test_a_summary_judges_what_a_job_has_not_seen(tmp_path: Path) -> None:
    classes = np.array(["mel", "nv"]).repeat(50)
    seen, tested = np.arange(100) % 5 == 0, np.arange(100) % 5 == 1
    table = {"class": classes, "split": np.where(tested, "test", "train")}
    pd.DataFrame(table).to_csv(tmp_path / "images.csv", index=False)
    right = np.where(classes[:, None] == np.array(["mel", "nv"]), 2.0, 0.0)
    # Wrong where the job was trained and in the test split, of which the summary tells nothing.
    right[seen | tested] = right[seen | tested][:, ::-1]
    mistaken = np.flatnonzero(~seen & ~tested)[:3]  # Three of thirty melanomas.
    first = right.copy()
    first[mistaken] = first[mistaken][:, ::-1]
    np.savez(tmp_path / "a.npz", logits=np.stack([first, right]), trained_on=seen, seconds=12.0)
    [row] = judging.summarise(tmp_path, [JOB, replace(JOB, name="none")]).to_dict("records")
    assert (row["job"], row["images"], row["seconds"]) == ("a", 60, 12.0)
    assert row["balanced_accuracy"] == pytest.approx((27 / 30 + 1) / 2)
    # The mean of both views is even for those three, and the first class is called then.
    assert row["two_views"] == 1.0
    # 27 of 30 melanomas are above all nevi, and three tie with them.
    assert row["macro_auc"] == pytest.approx(0.9 + 0.1 * 0.5)
    assert row["mel_nv_auc"] == pytest.approx(0.9 + 0.1 * 0.5)
