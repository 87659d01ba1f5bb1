"""`code/champion.py`: its arithmetic, without training a network."""

import importlib.util
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "code" / "champion.py"


@pytest.fixture(scope="module")
def champion() -> ModuleType:
    spec = importlib.util.spec_from_file_location("champion", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["champion"] = module  # Its dataclasses look for themselves there.
    spec.loader.exec_module(module)
    return module


def test_halfway_lies_between_the_weights_and_takes_the_last_counts(champion: ModuleType) -> None:
    start = {"weight": torch.tensor([1.0, -2.0]), "batches": torch.tensor(3)}
    end = {"weight": torch.tensor([2.0, 4.0]), "batches": torch.tensor(8)}
    found = champion.halfway(start, end)
    assert found["weight"].tolist() == [1.5, 1.0]
    assert found["batches"].item() == 8


def test_batches_hold_each_class_as_often_as_the_cap_allows(
    champion: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champion, "CLASS_CAP", 6)
    labels = np.array([0] * 30 + [1] * 4)  # The last row of each class is kept from training.
    rows = np.array([*range(29), *range(30, 33)])
    job = champion.Job("a", "resnet18", "mild", 10, batch=3)
    batches = champion.row_batches(job, rows, labels, np.zeros(34), np.random.default_rng(0))
    epoch = np.concatenate(list(islice(batches, 3)))  # 6 of one class and 3 of the other.
    assert len(set(epoch)) == 9
    assert set(epoch) <= set(rows)
    assert np.bincount(labels[epoch]).tolist() == [6, 3]


def test_a_batch_of_a_student_is_of_one_fold(champion: ModuleType) -> None:
    folds = np.arange(40) % 4
    job = champion.Job("a", "resnet18", "mild", 10, batch=5, teachers=True)
    labels = np.zeros(40, dtype=int)
    batches = champion.row_batches(job, np.arange(40), labels, folds, np.random.default_rng(0))
    shown = [set(folds[batch]) for batch in islice(batches, 8)]
    assert all(len(of) == 1 for of in shown)
    assert set.union(*shown) == {0, 1, 2, 3}


def test_a_summary_judges_what_a_job_has_not_seen(champion: ModuleType, tmp_path: Path) -> None:
    classes = np.array(["mel", "nv"]).repeat(50)
    seen, tested = np.arange(100) % 5 == 0, np.arange(100) % 5 == 1
    images = {"class": classes, "split": np.where(tested, "test", "train")}
    pd.DataFrame(images).to_csv(tmp_path / "images.csv", index=False)
    right = np.where(classes[:, None] == np.array(["mel", "nv"]), 2.0, 0.0)
    # Wrong where the job was trained and in the test split, of which the summary tells nothing.
    right[seen | tested] = right[seen | tested][:, ::-1]
    mistaken = np.flatnonzero(~seen & ~tested)[:3]  # Three of thirty melanomas.
    first = right.copy()
    first[mistaken] = first[mistaken][:, ::-1]
    np.savez(tmp_path / "a.npz", logits=np.stack([first, right]), trained_on=seen, seconds=12.0)
    jobs = [champion.Job(name, "resnet18", "mild", 10) for name in ("a", "not there")]
    [row] = champion.summarise(tmp_path, jobs).to_dict("records")
    assert (row["job"], row["images"], row["seconds"]) == ("a", 60, 12.0)
    assert row["balanced_accuracy"] == pytest.approx((27 / 30 + 1) / 2)
    # The mean of both views is even for those three, and the first class is called then.
    assert row["two_views"] == 1.0
    # 27 of 30 melanomas are above all nevi, and three tie with them.
    assert row["macro_auc"] == pytest.approx(0.9 + 0.1 * 0.5)
    assert row["mel_nv_auc"] == pytest.approx(0.9 + 0.1 * 0.5)
