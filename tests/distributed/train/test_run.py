"""What is refused before any worker starts, in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ray.exceptions import RaySystemError

from doctor_derma.data.manifest import read_dataset
from doctor_derma.distributed.train import driver
from doctor_derma.distributed.train.group import Outcome
from doctor_derma.distributed.train.run import train_on_ray, write_workers
from doctor_derma.errors import DermaError
from doctor_derma.training.runs import RunIsStopped, mark_ended
from project import new_run


@pytest.mark.parametrize(
    ("workers", "changes", "message"),
    [
        (0, {}, "--workers 0: at least one has to work; use 1 or more"),
        (-2, {}, "--workers -2: at least one has to work"),
        (2, {"devices": 2}, "--devices 2: on Ray the workers are what trains; leave it out and"),
        (2, {"nodes": 3}, "--nodes 3: on Ray the workers are what trains"),
        (24, {}, "--workers 24: the train split has 42 images, and each worker needs 2 or more"),
        (15, {}, "--workers 15: the val split has 14 images"),
    ],
)
def test_workers_that_can_not_train_are_refused(
    workers: int, changes: dict, message: str, root: Path
) -> None:
    run = new_run(root, "refused", **changes)
    with pytest.raises(DermaError) as caught:
        train_on_ray(run, read_dataset(root / "data"), workers)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_run_goes_on_with_the_workers_it_began_with(root: Path) -> None:
    run = new_run(root, "begun")
    torch.save({"epoch": 0}, run.last_checkpoint)
    write_workers(run, 3)
    with pytest.raises(DermaError) as caught:
        train_on_ray(run, read_dataset(root / "data"), 2)
    assert str(caught.value) == (
        "--workers 2: run 'begun' began with 3, and its learning rate counts the steps of those; "
        "go on with: derma train --resume begun --engine ray --workers 3"
    )
    (run.folder / "workers.json").write_text("three")
    with pytest.raises(DermaError, match=r"workers\.json: damaged"):
        train_on_ray(run, read_dataset(root / "data"), 3)


def test_a_run_that_has_ended_starts_no_worker(root: Path) -> None:
    run = new_run(root, "ended")
    mark_ended(run)
    assert train_on_ray(run, read_dataset(root / "data"), 1, address="127.0.0.1:1")


def test_lost_workers_and_clusters_leave_a_run_that_can_go_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, dataset = new_run(root, "lost"), read_dataset(root / "data")

    def lose(*_: object) -> Outcome:
        raise RaySystemError("gone")

    ends = {"the cluster was lost": lose, "failed 4 times": lambda *_: Outcome(failure="killed")}
    for message, end in ends.items():
        monkeypatch.setattr(driver, "_train_and_listen", end)
        with pytest.raises(RunIsStopped, match=f"{message} .* and go on"):
            driver.drive(run, dataset, 1, {"CPU": 1}, None, "go on")
    monkeypatch.setattr(driver, "_train_and_listen", lambda *_: Outcome(mistake="other files"))
    with pytest.raises(DermaError, match="other files") as caught:
        driver.drive(run, dataset, 1, {"CPU": 1}, None, "go on")
    assert not isinstance(caught.value, RunIsStopped)


def test_other_data_than_the_run_began_with_are_refused(root: Path) -> None:
    run = new_run(root, "begun")
    manifest = root / "data" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("female", "male"))
    with pytest.raises(DermaError, match="not the data that run 'begun' began with"):
        train_on_ray(run, read_dataset(root / "data"), 1)


def test_a_cluster_that_does_not_answer_is_named(root: Path) -> None:
    run = new_run(root, "nowhere")
    with pytest.raises(DermaError, match=r"127\.0\.0\.1:1: no Ray cluster answers there"):
        train_on_ray(run, read_dataset(root / "data"), 1, address="127.0.0.1:1")


def test_ray_train_s_own_processes_start_without_lightning() -> None:
    """Two of them stand beside the workers, and each would take seconds more to start."""
    heavy = ("lightning", "timm", "mlflow")
    code = (
        "import sys, doctor_derma.distributed.train.group\n"
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
