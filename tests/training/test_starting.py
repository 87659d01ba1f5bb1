"""Training goes on from a run's or from a bundle's weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from doctor_derma.data.manifest import read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.export.onnx import load_network
from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.checkpoints import bundle_weights, weights_to_start_from
from doctor_derma.training.loop import train
from doctor_derma.training.module import LesionModule
from project import Project, new_run, recipe


def pixels_of(project: Project, count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    shape = (count, *project.run.config.image_size, 3)
    return generator.integers(0, 256, shape, dtype=np.uint8)


def no_images() -> np.ndarray:
    raise AssertionError("a run has its statistics")


def test_a_bundle_gives_back_the_network_that_it_was_made_of(tiny_run: Project) -> None:
    run = tiny_run.run
    pixels = pixels_of(tiny_run, 8)
    weights = bundle_weights(run.bundle / "model.onnx", run.config.model, pixels)
    restored = create_network(run.config.model, len(run.info.classes)).eval()
    restored.load_state_dict(weights)
    original = load_network(run).eval()
    images = scale_pixels(torch.from_numpy(pixels_of(tiny_run, 16)))
    with torch.no_grad():
        assert torch.allclose(restored(images), original(images), atol=1e-3)


def test_its_statistics_are_those_of_the_images(tiny_run: Project) -> None:
    """In training, too, the network starts as it was on the images that were measured."""
    run = tiny_run.run
    pixels = pixels_of(tiny_run, 32)
    weights = bundle_weights(run.bundle / "model.onnx", run.config.model, pixels)
    restored = create_network(run.config.model, len(run.info.classes))
    restored.load_state_dict(weights)
    images = scale_pixels(torch.from_numpy(pixels))
    with torch.no_grad():
        in_training, in_use = restored.train()(images), restored.eval()(images)
    assert torch.allclose(in_training, in_use, atol=1e-2)


def test_its_filters_have_the_size_of_fresh_ones(tiny_run: Project) -> None:
    """Else a step of the optimiser would turn those that folding has shrunk by a multiple."""
    run = tiny_run.run
    weights = bundle_weights(run.bundle / "model.onnx", run.config.model, pixels_of(tiny_run, 8))
    fresh = create_network(run.config.model, len(run.info.classes)).state_dict()
    for name, weight in fresh.items():
        if weight.ndim == 4:
            sizes = weights[name].flatten(1).norm(dim=1)
            assert float(sizes.std()) < 1e-3 * float(sizes.mean())
            typical = float(weight.flatten(1).norm(dim=1).mean())
            assert float(sizes.mean()) == pytest.approx(typical, rel=0.1)


def test_the_probabilities_agree_with_the_graph(tiny_run: Project) -> None:
    run = tiny_run.run
    pixels = pixels_of(tiny_run, 4)
    session = onnxruntime.InferenceSession(run.bundle / "model.onnx")
    (maps,) = session.run(["activation_maps"], {"images": pixels})
    weights = bundle_weights(run.bundle / "model.onnx", run.config.model, pixels)
    restored = create_network(run.config.model, len(run.info.classes)).eval()
    restored.load_state_dict(weights)
    with torch.no_grad():
        _, found, _ = restored.logits_maps_and_features(scale_pixels(torch.from_numpy(pixels)))
    np.testing.assert_allclose(found.numpy(), maps, atol=1e-2)


def test_the_shipped_bundle_gives_back_its_network() -> None:
    """Its gates share one constant, and its head is a matrix."""
    shipped = Path(__file__).parents[2] / "deployment/models/champion"
    info = json.loads((shipped / "model.json").read_text())
    size = (info["input"]["height"], info["input"]["width"])
    generator = np.random.default_rng(0)
    coarse = torch.from_numpy(generator.uniform(0, 255, (4, 3, 9, 12)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    pixels = smooth.permute(0, 2, 3, 1).round().byte().numpy()
    weights = bundle_weights(shipped / "model.onnx", info["architecture"], pixels)
    restored = create_network(info["architecture"], len(info["classes"])).eval()
    restored.load_state_dict(weights)
    (maps,) = onnxruntime.InferenceSession(shipped / "model.onnx").run(
        ["activation_maps"], {"images": pixels}
    )
    with torch.no_grad():
        _, found, _ = restored.logits_maps_and_features(scale_pixels(torch.from_numpy(pixels)))
    np.testing.assert_allclose(found.numpy(), maps, atol=1e-2)


def test_a_run_is_told_by_its_name(tiny_run: Project) -> None:
    run = tiny_run.run
    weights = weights_to_start_from(run.name, run.folder.parent, run.config.model, no_images)
    expected = load_network(run).state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_run_without_a_validated_epoch_is_refused(root: Path) -> None:
    run = new_run(root, "begun")
    message = r"initial: .*begun/checkpoints/best\.ckpt is missing, .*derma train --resume begun"
    with pytest.raises(DermaError, match=message):
        weights_to_start_from("begun", run.folder.parent, run.config.model, no_images)


def _other_run(project: Project, folder: Path, classes: int | None = None) -> Path:
    """Copy a run, with all its weights doubled, and a head for ``classes``."""
    copy = folder / "other"
    shutil.copytree(project.run.folder, copy)
    checkpoint = copy / "checkpoints" / "best.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    state = content["state_dict"]
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = value * 2
        if classes and ".head." in name:
            state[name] = state[name][:classes]
    torch.save(content, checkpoint)
    return copy


def test_gates_from_before_they_had_a_scale_are_those_of_the_papers() -> None:
    name = "eca_efficientnet_lite0"
    weights = create_network(name, 3).state_dict()
    old = {key: value for key, value in weights.items() if not key.endswith(".scale")}
    module = LesionModule(recipe(model=name), torch.ones(3))
    scales = [part for key, part in module.network.named_buffers() if key.endswith(".scale")]
    for scale in scales:
        scale.fill_(2)  # as of a pretrained network
    module.start_from(old)
    assert len(old) + len(scales) == len(weights) > len(old)
    assert {float(scale) for scale in scales} == {1.0}
    with pytest.raises(DermaError, match=r"is missing\); start from a run of the same model"):
        module.start_from({key: value for key, value in old.items() if ".se." not in key})


def test_several_runs_give_their_average(tiny_run: Project, tmp_path: Path) -> None:
    run = tiny_run.run
    other = _other_run(tiny_run, tmp_path)
    weights = weights_to_start_from(
        f"{run.name}, {other}", run.folder.parent, run.config.model, no_images
    )
    network = load_network(run)
    for name, value in network.state_dict().items():
        expected = value * 1.5 if value.is_floating_point() else value
        torch.testing.assert_close(weights[name], expected)
    network.load_state_dict(weights)


def test_runs_with_other_classes_have_no_average(tiny_run: Project, tmp_path: Path) -> None:
    run = tiny_run.run
    other = _other_run(tiny_run, tmp_path, classes=2)
    with pytest.raises(DermaError, match=f"initial: '{other}' has other weights than 'tiny'"):
        weights_to_start_from(f"tiny,{other}", run.folder.parent, run.config.model, no_images)


def test_another_network_is_refused(tiny_run: Project) -> None:
    run = tiny_run.run
    other = "se_resnet18" if run.config.model != "se_resnet18" else "eca_resnet18"
    with pytest.raises(DermaError, match=f"is not a {other}"):
        bundle_weights(run.bundle / "model.onnx", other, pixels_of(tiny_run, 2))


def test_training_starts_from_a_bundle(tiny_run: Project, root: Path) -> None:
    bundle = tiny_run.run.bundle
    same = {"model": tiny_run.run.config.model, "epochs": 1, "learning_rate": 1e-9}
    run = new_run(root, "from_bundle", initial=str(bundle), **same)
    assert train(run, read_dataset(root / "data"))
    started = load_network(run).state_dict()
    expected = load_network(tiny_run.run).state_dict()
    # Folding changes the scale of a convolution, but not which of its weights is large.
    name = "backbone.conv1.weight"
    ours, theirs = started[name].flatten(1), expected[name].flatten(1)
    assert torch.cosine_similarity(ours, theirs).min() > 0.99
