"""Workers on two nodes train one run, as one worker would with the whole batch."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch
from torch.nn.functional import cross_entropy

from distributed.train.colours import import_colours
from doctor_derma.data.manifest import Dataset
from doctor_derma.distributed.cluster import cluster
from doctor_derma.distributed.train.run import train_on_ray
from doctor_derma.errors import DermaError
from doctor_derma.export.exporting import export_run
from doctor_derma.inference.classifier import Classifier
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.batches import ImageBatches
from doctor_derma.training.loop import train
from doctor_derma.training.module import LesionModule, class_counts
from doctor_derma.training.runs import Run, has_ended, open_run
from project import new_run

# Nothing is drawn but the order of the pictures, which is that of the seed: every flip of these
# pictures is the same picture, and this network normalises each alone.
CERTAIN: dict[str, Any] = {
    "model": "timm/test_convnext",
    "epochs": 2,
    "learning_rate": 1e-4,
    "dropout": 0.0,
    "rotation": 0.0,
    "zoom": 1.0,
    "aspect": 1.0,
    "colour": 0.0,
    "cutout": 0.0,
    "ema_decay": 0.9,
}
# What a usual run draws, and a network with batch normalisation.
USUAL: dict[str, Any] = {"epochs": 8, "cutout": 0.0, "ema_decay": 0.8, "colour": 0.05}
MEASURES = ["train_loss", "val_loss", "val_balanced_accuracy", "val_macro_auc", "learning_rate"]


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return import_colours(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module", autouse=True)
def _joined(address: str) -> Iterator[None]:
    """This process stays in the cluster, which then uses a process of Ray Train's again."""
    with cluster(address):
        yield


@pytest.fixture(scope="module")
def one(colours: Dataset, _joined: None) -> Iterator[tuple[Run, "Future[bool]"]]:
    """A run of one worker, which trains on one node beside the first test on the other."""
    run = new_run(colours.folder.parent, "one", batch_size=8, **CERTAIN)
    with ThreadPoolExecutor(1) as beside:
        yield run, beside.submit(train_on_ray, run, colours, 1)


def metrics_of(run: Run) -> pd.DataFrame:
    return pd.read_csv(run.metrics_file)


@pytest.mark.usefixtures("one")
def test_workers_that_see_other_data_say_so_and_do_not_try_again(
    tmp_path: Path, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = import_colours(tmp_path)
    run = new_run(tmp_path, "blind", batch_size=4)
    # Read here before, and by the workers after it was changed.
    manifest = data.folder / "manifest.csv"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(DermaError, match=r"worker at .*: does not see .*; keep both on a file sys"):
        train_on_ray(run, data, 1, address=address)
    assert "Lost" not in capfd.readouterr().err


def test_two_workers_do_what_one_does_with_the_whole_batch(
    colours: Dataset, address: str, one: tuple[Run, "Future[bool]"]
) -> None:
    whole, trained = one
    two = new_run(colours.folder.parent, "two", batch_size=4, **CERTAIN)

    assert trained.result()
    assert train_on_ray(two, colours, 2, address=address)

    pd.testing.assert_frame_equal(metrics_of(whole)[MEASURES], metrics_of(two)[MEASURES], rtol=1e-2)
    alone, shared = (torch.load(run.last_checkpoint, weights_only=False) for run in (whole, two))
    assert alone["global_step"] == shared["global_step"] > 2
    # A sum in place of the mean, or gradients of one worker's images, would be far off.
    expected, gradients = averaged_gradients(alone), averaged_gradients(shared)
    assert float((gradients - expected).norm() / expected.norm()) < 0.03


def averaged_gradients(checkpoint: dict[str, Any]) -> torch.Tensor:
    """Return Adam's running mean of the gradient, all weights in one row."""
    [optimizer] = checkpoint["optimizer_states"]
    return torch.cat([state["exp_avg"].flatten() for state in optimizer["state"].values()])


def validation_of(run: Run, dataset: Dataset) -> dict[str, float]:
    """Validate the last weights of a run in this process alone."""
    targets = dataset.targets(dataset.split("train"))
    module = LesionModule(run.config, class_counts(targets, len(dataset.classes)))
    module.load_state_dict(torch.load(run.last_checkpoint, weights_only=False)["state_dict"])
    module.eval()
    losses = []
    with torch.no_grad():
        for pixels, classes in ImageBatches(dataset, run.config).val_dataloader():
            logits = module.ema(scale_pixels(pixels))
            losses.append(cross_entropy(logits, classes, reduction="none"))
            module.balanced_accuracy.update(logits, classes)
            module.macro_auc.update(logits.softmax(1), classes)
    return {
        "val_loss": float(torch.cat(losses).mean()),
        "val_balanced_accuracy": float(module.balanced_accuracy.compute()),
        "val_macro_auc": float(module.macro_auc.compute()),
    }


def kill_a_worker() -> None:
    """SIGKILL to one of the workers that this process's cluster runs."""
    children = psutil.Process().children(recursive=True)
    workers = [child for child in children if child.name().startswith("ray::RayTrain")]
    assert len(workers) == 2, [child.name() for child in children]
    workers[1].kill()


def test_a_run_survives_a_killed_worker_and_an_interrupt(
    tmp_path: Path, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    colours = import_colours(tmp_path, count=83)
    alone = new_run(tmp_path, "alone", batch_size=8, **USUAL)
    assert train(alone, colours)
    run = new_run(tmp_path, "killed", batch_size=4, **USUAL)
    heard: list[tuple[int, dict[str, float]]] = []

    def disturb(epoch: int, metrics: dict[str, float]) -> None:
        heard.append((epoch, metrics))
        if epoch == 1:
            kill_a_worker()
        if epoch == 2:
            raise KeyboardInterrupt

    capfd.readouterr()
    with pytest.raises(KeyboardInterrupt):
        train_on_ray(run, colours, 2, disturb, address)
    assert capfd.readouterr().err.count("Lost worker") == 1
    assert not has_ended(run.folder)
    assert train_on_ray(open_run(run.folder.parent, run.name), colours, 2, disturb, address)
    assert "Lost worker" not in capfd.readouterr().err

    written = metrics_of(run)
    assert list(written["epoch"]) == [epoch for epoch, _ in heard] == list(range(8))
    for (_, metrics), row in zip(heard, written.to_dict("records"), strict=True):
        assert metrics == {name: pytest.approx(row[name]) for name in metrics}
    # The picture that one of the workers has more is counted once.
    assert len(colours.split("val")) % 2 == 1
    last, found = written.iloc[-1], validation_of(run, colours)
    for name in ("val_balanced_accuracy", "val_macro_auc", "val_loss"):
        assert found[name] == pytest.approx(last[name], rel=1e-5)
    # Both learn to tell red from blue; with other draws, so not step by step the same.
    for ended in (alone, run):
        assert metrics_of(ended)["val_balanced_accuracy"].max() > 0.9
    # What workers wrote is a run as any other.
    assert train(open_run(run.folder.parent, run.name), colours)
    bundle = export_run(run, colours)
    test = colours.split("test")
    predicted = Classifier.load(bundle).predict([colours.folder / path for path in test["path"]])
    right = [found.label == name for found, name in zip(predicted, test["class"], strict=True)]
    assert sum(right) / len(right) > 0.7


def test_more_workers_than_the_cluster_has_cpus_are_refused(colours: Dataset, address: str) -> None:
    run = new_run(colours.folder.parent, "crowd", batch_size=4)
    with pytest.raises(DermaError) as caught:
        train_on_ray(run, colours, 3, address=address)
    assert str(caught.value) == (
        "--workers 3: the cluster has 2 CPUs, and a worker needs one of its own; "
        "take fewer workers or add machines"
    )
