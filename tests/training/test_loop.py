"""Training to its end in this process: what is kept, what repeats, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from data.pictures import encoded, picture, source
from doctor_derma.bundle import read_info
from doctor_derma.data.importers.importing import import_images
from doctor_derma.data.manifest import DatasetInfo, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.export.onnx import load_network
from doctor_derma.training import batches
from doctor_derma.training.batches import draw_capped
from doctor_derma.training.checkpoints import (
    WholeCheckpoints,
    averaged_weights,
    finished_epochs,
    remove_leftovers,
)
from doctor_derma.training.epochs import plot_curves
from doctor_derma.training.loop import train, trainer_precision
from doctor_derma.workspace import Workspace
from project import Project, copy_data, largest_file, new_run, recipe, train_tiny

TIMES = ["images_per_second", "seconds"]


def metrics_of(root: Path, name: str, **changes: object) -> pd.DataFrame:
    run = new_run(root, name, **changes)
    assert train(run, read_dataset(Workspace(root).data))
    return pd.read_csv(run.metrics_file)


def test_a_run_keeps_recipe_metrics_checkpoints_and_curves(tiny_run: Project) -> None:
    run = tiny_run.run
    metrics = pd.read_csv(run.metrics_file)
    assert list(metrics["epoch"]) == [0, 1]
    expected = {"train_loss", "val_loss", "val_balanced_accuracy", "val_macro_auc", *TIMES}
    assert expected | {"learning_rate"} <= set(metrics)
    assert bool(np.isfinite(metrics).all(axis=None))
    assert run.last_checkpoint.is_file()
    assert run.best_checkpoint.is_file()
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]
    with Image.open(run.folder / "curves.png") as curves:
        assert curves.width > 600


def test_the_best_checkpoint_is_that_of_the_best_epoch(root: Path) -> None:
    run = new_run(root, "best", epochs=4)
    train(run, read_dataset(root / "data"))
    scores = pd.read_csv(run.metrics_file)["val_balanced_accuracy"]
    checkpoint = torch.load(run.best_checkpoint, weights_only=True)
    assert checkpoint["epoch"] == int(scores.argmax())
    last = torch.load(run.last_checkpoint, weights_only=False)
    assert last["epoch"] == 3
    weights = load_network(run).state_dict()
    averaged = checkpoint["state_dict"]
    assert all(torch.equal(weights[name], averaged[f"ema.module.{name}"]) for name in weights)


def test_same_seed_same_metrics(root: Path) -> None:
    first = metrics_of(root, "first", mixup=0.3)
    second = metrics_of(root, "second", mixup=0.3)
    other = metrics_of(root, "other", mixup=0.3, seed=1)
    pd.testing.assert_frame_equal(first.drop(columns=TIMES), second.drop(columns=TIMES))
    assert not np.allclose(first["train_loss"], other["train_loss"])


@pytest.mark.slow
def test_training_learns_what_tells_the_classes_apart(tmp_path: Path) -> None:
    images = []
    for index in range(40):
        pixels = np.array(picture(index, (32, 32)))
        channel = 0 if index % 2 else 2
        pixels[..., channel] = np.minimum(255, pixels[..., channel] + 90.0).astype(np.uint8)
        name = "red" if index % 2 else "blue"
        images.append(source(f"{name}{index}", name, encoded(Image.fromarray(pixels))))
    import_images(images, DatasetInfo("colours", "", "", 0), tmp_path / "data", val=0.3)
    metrics = metrics_of(
        tmp_path, "learner", epochs=14, batch_size=8, cutout=0.0, ema_decay=0.9, colour=0.05
    )
    assert metrics["val_balanced_accuracy"].max() == 1
    assert metrics["train_loss"].iloc[-1] < 0.7 * metrics["train_loss"].iloc[0]


def test_a_run_with_frozen_stages_keeps_them_to_the_bundle(root: Path) -> None:
    first = new_run(root, "first")
    train(first, read_dataset(root / "data"))
    frozen = train_tiny(root, "frozen", initial="first", freeze=2, ema_decay=0.5).run
    before, after = (averaged_weights(run.best_checkpoint) for run in (first, frozen))
    kept = tuple(f"backbone.{part}." for part in ("conv1", "bn1", "layer1", "layer2"))
    assert {key for key in before if not before[key].equal(after[key])} >= {
        *("head.weight", "head.bias", "backbone.layer3.0.conv1.weight")
    }
    for key in before:
        if key.startswith(kept):
            torch.testing.assert_close(after[key], before[key], rtol=0, atol=0)
    # Export checks that the graph says what the network does.
    assert read_info(frozen.bundle).recipe["freeze"] == 2


def test_a_resumed_run_draws_the_images_of_its_epoch(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws: list[list[int]] = []

    def recorded(*arguments: Any) -> np.ndarray:
        drawn = draw_capped(*arguments)
        draws.append(drawn.tolist())
        return drawn

    def kill(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 1:
            raise InterruptedError

    monkeypatch.setattr(batches, "draw_capped", recorded)
    metrics_of(root, "whole", epochs=3, class_cap=5)
    run = new_run(root, "killed", epochs=3, class_cap=5)
    with pytest.raises(InterruptedError):
        train(run, read_dataset(root / "data"), kill)
    train(run, read_dataset(root / "data"))
    whole, before, after = draws[:3], draws[3:5], draws[5:]
    assert whole[0] != whole[1] != whole[2]
    assert before == whole[:2]
    # The schedule's length is counted before the checkpoint is read, in the first epoch.
    assert after == whole


def test_training_stops_when_validation_gets_no_better(root: Path) -> None:
    metrics = metrics_of(root, "patient", epochs=30, patience=1, learning_rate=1e-9, ema_decay=0.0)
    assert len(metrics) < 10


def test_validation_every_other_epoch(root: Path) -> None:
    run = new_run(root, "sparse", epochs=4, validate_every=2, patience=1)
    scored: list[bool] = []
    train(run, read_dataset(root / "data"), lambda _, m: scored.append("val_loss" in m))
    assert scored == [False, True, False, True]
    metrics = pd.read_csv(run.metrics_file)
    assert list(metrics["val_macro_auc"].notna()) == scored
    assert bool((metrics["images_per_second"] > 0).all())
    plot_curves(run.metrics_file, root / "curves.png", run.name)
    assert torch.load(run.best_checkpoint, weights_only=True)["epoch"] in (1, 3)


def test_a_run_without_a_validation_keeps_its_last_epoch(root: Path) -> None:
    run = new_run(root, "killed", epochs=2, validate_every=2)

    reached: list[int] = []

    def kill(epoch: int, metrics: dict[str, float]) -> None:
        reached.append(epoch)
        if epoch == 1 and reached.count(1) == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(run, read_dataset(root / "data"), kill)
    assert torch.load(run.last_checkpoint, weights_only=False)["epoch"] == 0
    train(run, read_dataset(root / "data"), kill)
    assert reached == [0, 1, 1]


def test_every_epoch_is_reported_once(root: Path) -> None:
    seen: list[tuple[int, float]] = []
    run = new_run(root, "reported")
    train(run, read_dataset(root / "data"), lambda e, m: seen.append((e, m["val_loss"])))
    written = pd.read_csv(run.metrics_file)
    assert seen == [(0, written["val_loss"][0]), (1, written["val_loss"][1])]


def test_a_usual_run_warns_of_nothing(
    root: Path, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    metrics_of(root, "quiet")
    assert [str(warning.message) for warning in recwarn.list] == []
    lines = capfd.readouterr().err.splitlines()
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    assert not [line for line in lines if "warn" in line.lower() or "deprecat" in line.lower()]


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_that_a_split_lacks_is_named(split: str, root: Path) -> None:
    manifest = root / "data" / "manifest.csv"
    table = pd.read_csv(manifest)
    table[(table["class"] != "mel") | (table["split"] != split)].to_csv(manifest, index=False)
    run = new_run(root, "lacking")
    with pytest.raises(DermaError, match=f"class 'mel' has no image in the {split} split; add"):
        train(run, read_dataset(root / "data"))


def test_other_data_than_the_run_began_with_are_refused(root: Path) -> None:
    run = new_run(root, "begun")
    manifest = root / "data" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("female", "male"))
    with pytest.raises(DermaError, match="not the data that run 'begun' began with; import those"):
        train(run, read_dataset(root / "data"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accelerator": "abacus"}, "--accelerator abacus, --devices 1: can't be had"),
        ({"devices": -3}, "--accelerator cpu, --devices -3: can't be had"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(
    changes: dict, message: str, lesions: Path, tmp_path: Path
) -> None:
    run = new_run(copy_data(lesions, tmp_path), "nowhere", **changes)
    with pytest.raises(DermaError, match=message) as caught:
        train(run, read_dataset(tmp_path / "data"))
    assert "\n" not in str(caught.value)


def test_precision_is_what_was_asked_for() -> None:
    assert trainer_precision(recipe(precision="fp32")) == "32-true"
    assert trainer_precision(recipe(precision="bf16")) == "bf16-mixed"
    native = "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"
    assert trainer_precision(recipe(precision="auto", accelerator="cpu")) == native


def test_precision_is_bf16_on_a_gpu_that_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones can only pretend to, which is slower than fp32."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def pretends(including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", pretends)
    for accelerator in ("auto", "gpu"):
        assert trainer_precision(recipe(precision="auto", accelerator=accelerator)) == "32-true"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert trainer_precision(recipe(precision="auto", accelerator="gpu")) == "bf16-mixed"


def test_bf16_trains(root: Path) -> None:
    assert np.isfinite(metrics_of(root, "half", precision="bf16", epochs=1)["val_loss"][0])


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    plugin = WholeCheckpoints()
    plugin.save_checkpoint({"epoch": 1}, path)
    with largest_file(100_000), pytest.raises(OSError, match=r"File too large.*last\.ckpt"):
        plugin.save_checkpoint({"epoch": 2, "weights": torch.zeros(100_000)}, path)
    assert torch.load(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_finished_epochs_are_counted_without_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    assert finished_epochs(path) == 0
    WholeCheckpoints().save_checkpoint({"epoch": 4, "state_dict": {"a": torch.zeros(9)}}, path)
    assert finished_epochs(path) == 5


def test_what_a_kill_left_beside_the_checkpoints_goes(tmp_path: Path) -> None:
    for name in ("last.ckpt", ".last-0a1b2c3d.ckpt"):
        (tmp_path / name).write_bytes(b"x")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_run_files_are_readable_by_people(tiny_run: Project) -> None:
    info = json.loads((tiny_run.run.folder / "run.json").read_text())
    assert info["images"] == {"train": 42, "val": 14, "test": 14}
    assert "model: resnet18" in (tiny_run.run.folder / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("model", "native", "expected"),
    [
        ("eca_resnet18", True, "bf16-mixed"),
        ("eca_resnet18", False, "32-true"),
        ("eca_efficientnet_lite0", True, "32-true"),
        ("timm/mobilenetv3_small_050", True, "32-true"),
    ],
)
def test_depthwise_networks_train_in_fp32_on_a_processor(
    model: str, native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert trainer_precision(recipe(model=model, precision="auto")) == expected
    assert trainer_precision(recipe(model=model, precision="bf16")) == "bf16-mixed"
