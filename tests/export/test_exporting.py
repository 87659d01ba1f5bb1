"""The graph says what the network says, on real pictures, or there is no bundle."""

import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import doctor_derma
from doctor_derma import Classifier, __version__
from doctor_derma.bundle import file_sha256, read_info
from doctor_derma.data.cache import pixel_cache
from doctor_derma.errors import DermaError
from doctor_derma.export import exporting
from doctor_derma.export.exporting import export_run
from doctor_derma.export.onnx import load_network
from doctor_derma.images.decoding import DECODER
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.loop import train
from doctor_derma.training.runs import Run
from doctor_derma.workspace import Workspace
from project import Project, copy_data, new_run, real_pixels, shallow


@pytest.fixture(scope="module")
def pixels(tiny_run: Project) -> np.ndarray:
    return real_pixels(tiny_run.dataset, 20)


@pytest.fixture(scope="module")
def small(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A trained and exported run of a network that is soon exported again."""
    root = copy_data(lesions, tmp_path_factory.mktemp("small"))
    project = Project(Workspace(root), new_run(root, "small", model=shallow()))
    train(project.run, project.dataset)
    export_run(project.run, project.dataset)
    return project


@pytest.fixture(scope="module")
def session(tiny_run: Project) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(tiny_run.run.bundle / "model.onnx")


def torch_logits_and_maps(run: Run, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        images = scale_pixels(torch.from_numpy(pixels))
        logits, maps, _ = load_network(run).logits_maps_and_features(images)
    return logits.double().numpy(), maps.numpy()


def log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def log_shares(project: Project) -> np.ndarray:
    rows = project.dataset.split("train")
    counts = np.bincount(project.dataset.targets(rows))
    return np.log(counts / counts.sum())


def test_probabilities_are_those_of_the_network_with_temperature_and_prevalence(
    tiny_run: Project, session: onnxruntime.InferenceSession, pixels: np.ndarray
) -> None:
    info = read_info(tiny_run.run.bundle)
    logits, maps = torch_logits_and_maps(tiny_run.run, pixels)
    # The default loss is balanced: what it left out of the logits is the classes' shares.
    shares = log_shares(tiny_run)
    evidence = (logits + info.prior_weight * shares) / info.temperature
    probabilities, exported_maps, _ = session.run(None, {"images": pixels})
    np.testing.assert_allclose(probabilities, np.exp(log_softmax(evidence)), atol=1e-4)
    np.testing.assert_allclose(exported_maps, maps, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_bias_and_the_mean_of_the_map_give_the_probability(
    tiny_run: Project, session: onnxruntime.InferenceSession, pixels: np.ndarray
) -> None:
    """Up to a constant a class, the log probability is the map's mean over the temperature."""
    info = read_info(tiny_run.run.bundle)
    probabilities, maps, _ = session.run(None, {"images": pixels})
    offsets = np.log(probabilities) - maps.mean((2, 3)) / info.temperature
    offsets -= offsets.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(offsets, np.broadcast_to(offsets[:1], offsets.shape), atol=2e-3)


def test_a_graph_names_no_file_of_the_machine_that_wrote_it(tiny_run: Project) -> None:
    graph = onnx.load(tiny_run.run.bundle / "model.onnx").graph
    notes = [prop.value for node in graph.node for prop in node.metadata_props]
    assert notes
    assert [note for note in notes if ".py" in note] == []
    package = Path(doctor_derma.__file__).parent
    assert str(package).encode() not in graph.SerializeToString()


@pytest.mark.parametrize("tta", [2, 8])
def test_a_graph_of_several_views_averages_over_them(
    small: Project, pixels: np.ndarray, tmp_path: Path, tta: int
) -> None:
    run = small.run
    bundle = export_run(run, small.dataset, tmp_path / "views", tta=tta)
    assert read_info(bundle).tta == tta
    assert read_info(run.bundle).tta == 1
    network = load_network(run)
    network.tta = tta
    with torch.inference_mode():
        images = scale_pixels(torch.from_numpy(pixels))
        logits, expected, _ = network.logits_maps_and_features(images)
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    probabilities, maps, _ = session.run(None, {"images": pixels})
    np.testing.assert_allclose(maps, expected.numpy(), rtol=1e-3, atol=1e-4)
    info, shares = read_info(bundle), log_shares(small)
    evidence = (logits.numpy() + info.prior_weight * shares) / info.temperature
    np.testing.assert_allclose(probabilities, np.exp(log_softmax(evidence)), atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_any_number_of_pictures_gives_the_same(
    count: int, session: onnxruntime.InferenceSession, pixels: np.ndarray
) -> None:
    all_at_once = session.run(None, {"images": pixels})
    some = session.run(None, {"images": pixels[:count]})
    for whole, part in zip(all_at_once, some, strict=True):
        np.testing.assert_allclose(part, whole[:count], rtol=1e-4, atol=1e-5)


def test_the_graph_is_one_file_with_the_agreed_interface(
    tiny_run: Project, session: onnxruntime.InferenceSession
) -> None:
    [images] = session.get_inputs()
    assert (images.name, images.type) == ("images", "tensor(uint8)")
    assert images.shape[1:] == [32, 32, 3]
    assert not isinstance(images.shape[0], int)
    names = [output.name for output in session.get_outputs()]
    assert names == ["probabilities", "activation_maps", "unfamiliarity"]
    files = sorted(path.name for path in tiny_run.run.bundle.iterdir())
    assert files == ["README.md", "model.json", "model.onnx"]
    onnx.checker.check_model(str(tiny_run.run.bundle / "model.onnx"), full_check=True)


def test_the_classifier_says_what_the_graph_says(
    tiny_run: Project, session: onnxruntime.InferenceSession, pixels: np.ndarray
) -> None:
    dataset = tiny_run.dataset
    paths = [dataset.folder / path for path in dataset.table["path"][: len(pixels)]]
    predictions = Classifier.load(tiny_run.run.bundle).predict(paths)
    probabilities = session.run(None, {"images": pixels})[0]
    found = np.array([list(prediction.probabilities.values()) for prediction in predictions])
    np.testing.assert_allclose(found, probabilities, atol=1e-5)
    assert [p.label for p in predictions] == [dataset.classes[i] for i in probabilities.argmax(1)]


def test_unfamiliarity_is_scaled_to_the_validation_images(
    tiny_run: Project, session: onnxruntime.InferenceSession
) -> None:
    dataset = tiny_run.dataset
    rows = np.flatnonzero(dataset.table["split"] == "val")
    found = session.run(["unfamiliarity"], {"images": pixel_cache(dataset, 32, 32)[rows]})[0]
    assert np.quantile(found, 0.95) == pytest.approx(1, rel=1e-2)
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    [of_noise] = session.run(["unfamiliarity"], {"images": noise})
    assert float(np.median(of_noise)) > float(np.median(found))


def test_prediction_sets_hold_the_target_share_of_the_validation_images(tiny_run: Project) -> None:
    dataset = tiny_run.dataset
    rows = dataset.split("val")
    paths = [dataset.folder / path for path in rows["path"]]
    predictions = Classifier.load(tiny_run.run.bundle).predict(paths)
    covered = [
        dx in prediction.prediction_set
        for prediction, dx in zip(predictions, rows["class"], strict=True)
    ]
    # 14 images are too few for 95%, so every class is let in.
    assert covered == [True] * 14
    assert read_info(tiny_run.run.bundle).conformal.threshold == 1.0


def test_model_json_tells_where_the_model_comes_from(tiny_run: Project) -> None:
    info, run = read_info(tiny_run.run.bundle), tiny_run.run
    assert (info.name, info.run, info.architecture) == ("tiny", run.info.tracking_id, "resnet18")
    assert info.class_names == tiny_run.dataset.classes
    assert info.classes[4].full_name == "Melanoma"
    assert info.data.fingerprint == tiny_run.dataset.fingerprint
    assert info.data.images == {"train": 42, "val": 14, "test": 14}
    assert info.code.version == __version__
    assert info.decoder is not None
    assert (info.decoder.version, info.decoder.pillow) == (DECODER, version("pillow"))
    assert info.decoder.libvips.startswith(version("pyvips-binary").rpartition(".")[0])
    assert info.recipe == run.config.model_dump(mode="json")
    assert info.weights.sha256 == file_sha256(run.bundle / "model.onnx")
    assert info.weights.bytes == (run.bundle / "model.onnx").stat().st_size
    assert 0 <= info.parity.max_probability_difference <= 1e-4
    assert info.parity.images == 14
    assert 0 <= info.metrics["val"]["balanced_accuracy"] <= 1
    assert info.decision.default == "balanced"
    assert info.rulebook.rules == ("balanced", "most-probable", "melanoma-first")
    assert info.decision.melanoma_first is not None
    assert info.decision.melanoma_first.sensitivity.images == 2


def test_validation_figures_are_those_of_the_exported_model(tiny_run: Project) -> None:
    dataset = tiny_run.dataset
    rows = dataset.split("val")
    paths = [dataset.folder / path for path in rows["path"]]
    predictions = Classifier.load(tiny_run.run.bundle).predict(paths)
    right = [p.label == dx for p, dx in zip(predictions, rows["class"], strict=True)]
    info = read_info(tiny_run.run.bundle)
    assert info.metrics["val"]["accuracy"] == pytest.approx(float(np.mean(right)))
    called = [p.label for p in predictions]
    shares = [called.count(name) / len(called) for name in info.class_names]
    assert info.decision.figures["balanced"].called == pytest.approx(shares)


def test_failed_parity_leaves_no_bundle_and_keeps_an_older_one(
    small: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    shutil.copytree(small.run.bundle, old)
    before = {path.name: path.read_bytes() for path in old.iterdir()}

    write_graph = exporting.write_graph

    def perturbed(graph, height: int, width: int, path: Path) -> None:  # type: ignore[no-untyped-def]
        bias = graph.network.head.bias
        with torch.no_grad():
            bias[0] += 5
            write_graph(graph, height, width, path)
            bias[0] -= 5

    monkeypatch.setattr(exporting, "write_graph", perturbed)
    for target in (old, tmp_path / "new"):
        with pytest.raises(DermaError, match=r"differ from the network's by \d.*, more than"):
            export_run(small.run, small.dataset, target)
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_parity_refuses_what_is_not_a_number(
    tiny_run: Project, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(images: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.full((len(images), 7), torch.nan),)

    with pytest.raises(DermaError, match="differ from the network's by nan"):
        exporting.check_parity(broken, tiny_run.run.bundle / "model.onnx", pixels)  # type: ignore[arg-type]
    monkeypatch.setattr(exporting, "TOLERANCE", -1)
    with pytest.raises(DermaError, match="so no bundle was written"):
        exporting.check_parity(
            lambda images: (torch.zeros(len(images), 7),),  # type: ignore[arg-type]
            tiny_run.run.bundle / "model.onnx",
            pixels,
        )


def test_what_can_not_be_exported_is_one_sentence(small: Project, tmp_path: Path) -> None:
    run, dataset = small.run, small.dataset
    with pytest.raises(DermaError, match="not the data that run 'small' was trained on; import"):
        export_run(run, replace(dataset, fingerprint="other"))
    with pytest.raises(DermaError, match=r"best\.ckpt: missing; .* derma train --resume small"):
        export_run(replace(run, folder=tmp_path), dataset)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DermaError, match="holds other files"):
        export_run(run, dataset, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"
