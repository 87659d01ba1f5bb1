"""A quantized bundle: fitted to its own outputs, as good as the fp32 one, or not there."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from doctor_derma import Classifier
from doctor_derma.bundle import (
    BundleInfo,
    Expected,
    OperatingPoint,
    PatientTerm,
    file_sha256,
    read_card,
    read_info,
    write_info,
)
from doctor_derma.commands.export import export
from doctor_derma.data.cache import pixel_cache
from doctor_derma.decisions import melanoma_threshold
from doctor_derma.errors import DermaError
from doctor_derma.export import exporting, quantization
from doctor_derma.export.calibration import Calibration
from doctor_derma.export.exporting import export_run
from doctor_derma.export.onnx import cut_network, join_head, map_convolutions, run_graph
from doctor_derma.export.ood import OodScore
from doctor_derma.export.quantization import check_loss, export_quantized
from doctor_derma.inference.conformal import conformal_threshold
from doctor_derma.training.loop import train
from doctor_derma.workspace import Workspace
from project import Project, new_run, shallow
from tiny_bundle import PATIENT, SIZE, tiny_graph

KEPT = (
    *("classes", "input", "prior_weight", "tta", "class_shares", "map_shift", "quality", "data"),
    "recipe",
)


@pytest.fixture(scope="module", params=["int8", "fp16"])
def precision(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def quantized(tiny_run: Project, precision: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantized bundle of the tiny run, whatever it lost on its 14 pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "MOST_LOST", {"balanced_accuracy": 1.0, "macro_auc": 1.0})
        target = tmp_path_factory.mktemp("quantized") / "bundle"
        return export_quantized(tiny_run.run, tiny_run.dataset, precision, target)


def validation(project: Project) -> tuple[np.ndarray, np.ndarray]:
    dataset = project.dataset
    rows = np.flatnonzero(dataset.table["split"] == "val")
    labels = np.array(dataset.targets(dataset.table.iloc[rows]))
    return pixel_cache(dataset, 32, 32)[rows], labels


def stored(path: Path) -> dict[int, int]:
    """Return how many bytes of a graph's constants are of each type."""
    found: dict[int, int] = {}
    for constant in onnx.load(path).graph.initializer:
        size = numpy_helper.to_array(constant).nbytes
        found[constant.data_type] = found.get(constant.data_type, 0) + size
    return found


def test_serving_loads_it_and_it_says_nearly_the_same(
    tiny_run: Project, quantized: Path, precision: str
) -> None:
    pixels, _ = validation(tiny_run)
    expected = Classifier.load(tiny_run.run.bundle).outputs(pixels)
    found = Classifier.load(quantized).outputs(pixels)
    probabilities, maps = (0.1, 0.1) if precision == "int8" else (2e-3, 2e-3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=probabilities)
    scale = np.abs(expected.activation_maps).max()
    np.testing.assert_allclose(found.activation_maps, expected.activation_maps, atol=maps * scale)
    assert np.abs(found.probabilities - expected.probabilities).max() > 0


def test_model_json_describes_the_quantized_graph(
    tiny_run: Project, quantized: Path, precision: str
) -> None:
    info, original = read_info(quantized), read_info(tiny_run.run.bundle)
    assert (info.name, info.run) == (f"tiny-{precision}", f"tiny-{precision}")
    assert info.weights.precision == precision
    assert info.weights.sha256 == file_sha256(quantized / "model.onnx")
    assert info.weights.bytes == (quantized / "model.onnx").stat().st_size
    assert {name: getattr(info, name) for name in KEPT} == {
        name: getattr(original, name) for name in KEPT
    }
    assert sorted(path.name for path in quantized.iterdir()) == ["model.json", "model.onnx"]


def test_parity_is_with_the_fp32_graph_on_the_validation_split(
    tiny_run: Project, quantized: Path
) -> None:
    pixels, _ = validation(tiny_run)
    expected, _ = Classifier.load(tiny_run.run.bundle).predict_pixels(pixels)
    found, _ = Classifier.load(quantized).predict_pixels(pixels)
    parity = read_info(quantized).parity
    assert (parity.reference, parity.images) == ("fp32 graph", 14)
    assert parity.max_probability_difference == pytest.approx(np.abs(found - expected).max(), 1e-4)
    assert parity.same_label == np.mean(found.argmax(1) == expected.argmax(1))


def test_thresholds_and_figures_are_fitted_to_its_own_outputs(
    tiny_run: Project, quantized: Path
) -> None:
    pixels, labels = validation(tiny_run)
    info = read_info(quantized)
    found = Classifier.load(quantized).outputs(pixels)
    called = info.rulebook.decide(found.probabilities)
    assert info.metrics["val"]["accuracy"] == pytest.approx(np.mean(called == labels))
    threshold = conformal_threshold(found.probabilities, labels)
    assert info.conformal.threshold == pytest.approx(threshold, abs=1e-6)
    chosen = info.decision.melanoma_first
    assert chosen is not None
    of_melanoma = found.probabilities[:, info.class_names.index("mel")]
    is_melanoma = labels == info.class_names.index("mel")
    expected = melanoma_threshold(of_melanoma, is_melanoma, 0.9)
    assert chosen.threshold == pytest.approx(expected, abs=1e-6)
    assert chosen.threshold != read_info(tiny_run.run.bundle).decision.melanoma_first.threshold
    assert info.decision.default == "balanced"
    assert info.ood.images == info.conformal.images == 14
    assert np.quantile(found.unfamiliarity, 0.95) == pytest.approx(1, rel=1e-2)


def test_most_bytes_are_in_the_smaller_type(quantized: Path, precision: str) -> None:
    found = stored(quantized / "model.onnx")
    small = TensorProto.INT8 if precision == "int8" else TensorProto.FLOAT16
    assert found[small] > 4 * found[TensorProto.FLOAT]


def test_the_head_and_the_first_step_stay_in_fp32(quantized: Path) -> None:
    """But for the directions of the OOD score, which are most of the head's bytes."""
    model = onnx.load(quantized / "model.onnx")
    types = {constant.name: constant.data_type for constant in model.graph.initializer}
    for name in ("temperature", "offsets", "mean"):
        assert types[f"head_{name}"] == TensorProto.FLOAT
    assert types["head_directions.fp16"] == TensorProto.FLOAT16
    [maps] = [node for node in model.graph.node if "activation_maps" in node.output]
    assert types[maps.input[1]] == TensorProto.FLOAT
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    assert makers[maps.input[0]] != "DequantizeLinear"


def test_weights_in_int8_can_not_overflow_sums_of_two_products_in_16_bits(
    quantized: Path, precision: str
) -> None:
    weights = [
        numpy_helper.to_array(constant).astype(int)
        for constant in onnx.load(quantized / "model.onnx").graph.initializer
        if constant.data_type == TensorProto.INT8 and len(constant.dims) == 4
    ]
    # All convolutions of a resnet18 but the first: 16 in its blocks and 3 shortcuts.
    assert len(weights) == (19 if precision == "int8" else 0)
    assert all(2 * 255 * np.abs(values).max() < 2**15 for values in weights)


def test_a_damaged_one_is_refused(quantized: Path, tmp_path: Path) -> None:
    copy = tmp_path / "damaged"
    copy.mkdir()
    for file in quantized.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    content = bytearray((copy / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.onnx").write_bytes(content)
    with pytest.raises(DermaError, match=r"its SHA-256 is not the one in model\.json"):
        Classifier.load(copy)


def test_a_worse_one_is_not_written(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half the weights' bits change no label: nothing is lost, and here that is too much.
    monkeypatch.setattr(quantization, "MOST_LOST", {"macro_auc": 1, "balanced_accuracy": -0.001})
    message = r"fp16: the validation balanced accuracy of tiny falls from 0\.\d{4} to 0\.\d{4},"
    with pytest.raises(DermaError, match=message):
        export_quantized(tiny_run.run, tiny_run.dataset, "fp16", tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_auc"])
def test_what_may_be_lost(tiny_run: Project, metric: str) -> None:
    before = {"balanced_accuracy": 0.8, "macro_auc": 0.95}
    check_loss(before, before | {metric: before[metric] - 0.0049}, tiny_run.run, "int8")
    check_loss(before, {"balanced_accuracy": 0.9, "macro_auc": 0.99}, tiny_run.run, "int8")
    with pytest.raises(DermaError, match=r"falls from 0\.\d{4} to 0\.\d{4}, by more than 0\.005"):
        check_loss(before, before | {metric: before[metric] - 0.0051}, tiny_run.run, "int8")


def test_what_can_not_be_quantized_is_one_sentence(
    tiny_run: Project, quantized: Path, tmp_path: Path
) -> None:
    run, dataset = tiny_run.run, tiny_run.dataset
    with pytest.raises(DermaError, match="not the data that run 'tiny' was trained on; import"):
        export_quantized(run, replace(dataset, fingerprint="other"), "int8", tmp_path)
    with pytest.raises(DermaError, match="no model bundle here"):
        export_quantized(replace(run, folder=tmp_path), dataset, "int8")
    (tmp_path / "bundle").symlink_to(quantized)
    with pytest.raises(DermaError, match=r"already; export fp32 first: derma export tiny"):
        export_quantized(replace(run, folder=tmp_path), dataset, "int8")


def test_an_operating_point_is_not_taken_over(tiny_run: Project, tmp_path: Path) -> None:
    copy = replace(tiny_run.run, folder=tmp_path)
    shutil.copytree(tiny_run.run.bundle, copy.bundle)
    info = read_info(copy.bundle)
    share = Expected(value=0.9, low=0.8, high=1.0, images=10)
    point = OperatingPoint(
        question="melanoma",
        classes=("mel",),
        target="a sensitivity of 90%",
        threshold=0.1,
        sensitivity=share,
        specificity=share,
        review_rate=share,
    )
    decision = info.decision.model_copy(
        update={"default": "operating-point", "operating_point": point}
    )
    write_info(copy.bundle, info.model_copy(update={"decision": decision}))
    with pytest.raises(DermaError, match=r"the operating point of tiny holds for its fp32 bundle"):
        export_quantized(copy, tiny_run.dataset, "fp16", tmp_path / "fp16")
    assert not (tmp_path / "fp16").exists()


def test_patient_data_are_weighed_as_the_quantized_network_needs_it(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tiny set has too few patients for a term to be fitted.
    classes = len(tiny_run.dataset.classes)
    term = PATIENT.model_copy(update={"weights": ((0.5,) * classes,) * len(PATIENT.weights)})
    given: list[np.ndarray] = []

    def fit(probabilities: np.ndarray, *others: object) -> PatientTerm:
        given.append(probabilities)
        return term

    monkeypatch.setattr(exporting, "fit_patient_term", fit)
    monkeypatch.setattr(quantization, "MOST_LOST", {"balanced_accuracy": 1, "macro_auc": 1})
    bundle = export_quantized(tiny_run.run, tiny_run.dataset, "fp16", tmp_path / "bundle")
    assert read_info(bundle).patient == term
    found = Classifier.load(bundle).outputs(validation(tiny_run)[0])
    np.testing.assert_allclose(given[0], found.probabilities, atol=1e-5)


def test_cut_and_joined_again_a_graph_answers_by_hand() -> None:
    """A red picture has the logit 6 for the first class, and the features 255, 0 and 0."""
    network = cut_network(tiny_graph())
    red = np.zeros((1, SIZE, SIZE, 3), dtype=np.uint8)
    red[..., 0] = 255
    logits, features = run_graph(network, red, np.array([0]), ("logits", "features"))
    np.testing.assert_allclose(logits, [[6, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(features, [[255, 0, 0]], atol=1e-4)
    calibration = Calibration(3.0, np.log([1.0, 2.0, 3.0]))
    ood = OodScore(np.array([253.0, 0, 1]), 4.0, np.diag([0.5, 1, 2]))
    model = join_head(network, calibration, ood)
    probabilities, unfamiliarity = run_graph(
        model, red, np.array([0]), ("probabilities", "unfamiliarity")
    )
    weights = np.array([np.exp(2), 2, 3])
    np.testing.assert_allclose(probabilities, [weights / weights.sum()], rtol=1e-5)
    np.testing.assert_allclose(unfamiliarity, [4 * (4 + 0 + 1) - (1 + 0 + 4)], rtol=1e-5)


def test_directions_in_fp16_leave_the_ood_score_as_it_is_to_three_digits(
    tiny_run: Project,
) -> None:
    model = onnx.load(tiny_run.run.bundle / "model.onnx")
    pixels = pixel_cache(tiny_run.dataset, 32, 32)
    rows = np.arange(len(pixels))
    [exact] = run_graph(model, pixels, rows, ["unfamiliarity"])
    [halved] = run_graph(quantization.round_matrices(model), pixels, rows, ["unfamiliarity"])
    np.testing.assert_allclose(halved, exact, rtol=2e-3, atol=2e-3)
    assert (halved != exact).any()


GATED = """
<ir_version: 9, opset_import: ["" : 18]>
gated (uint8[n, 8, 8, 3] images) => (float[n, 3, 8, 8] activation_maps)
<float[3, 3, 1, 1] kernel, float[1, 1, 3] row, int64[2] places, int64[1] one, int64[1] last> {
    floats = Cast <to = 1> (images)
    channels = Transpose <perm = [0, 3, 1, 2]> (floats)
    first = Conv (channels, kernel)
    pooled = ReduceMean <keepdims = 1> (first, places)
    squeezed = Conv (pooled, kernel)
    active = Relu (squeezed)
    excited = Conv (active, kernel)
    gate = Sigmoid (excited)
    gated = Mul (first, gate)
    second = Conv (gated, kernel)
    means = ReduceMean <keepdims = 0> (second, places)
    in_row = Unsqueeze (means, one)
    mixed = Conv <pads = [1, 1]> (in_row, row)
    turned = Transpose <perm = [0, 2, 1]> (mixed)
    weights = Unsqueeze (turned, last)
    weighted = Mul (second, weights)
    third = Conv (weighted, kernel)
    activation_maps = Conv (third, kernel)
}
"""


def test_gates_of_attention_and_the_head_are_no_convolutions_of_maps() -> None:
    """One gate as of squeeze and excitation, one as of efficient channel attention."""
    found = map_convolutions(onnx.parser.parse_model(GATED))
    assert [node.output[0] for node in found] == ["first", "second", "third"]


def test_a_graph_without_a_mean_of_its_maps_is_named() -> None:
    graph = tiny_graph()
    for node in graph.graph.node:
        if node.op_type == "ReduceMean":
            node.op_type = "ReduceMax"
    with pytest.raises(DermaError, match="'activation_maps' has no mean over places; export"):
        cut_network(graph)


def test_an_unknown_precision_in_model_json_is_refused(quantized: Path) -> None:
    values = read_info(quantized).model_dump(mode="json")
    values["weights"]["precision"] = "int2"
    with pytest.raises(ValueError, match="'fp32', 'fp16' or 'int8'"):
        BundleInfo.model_validate(values)


def test_the_command_writes_it_beside_the_runs_own_bundle(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(tiny_run.run.folder, copy, ignore=shutil.ignore_patterns("checkpoints"))
    monkeypatch.setenv("DERMA_ROOT", str(tiny_run.workspace.root))
    export(str(copy), precision="fp16")
    info = read_info(copy / "bundle-fp16")
    assert info.weights.precision == "fp16"
    assert info.weights.sha256 in read_card(copy / "bundle-fp16")
    assert read_info(copy / "bundle") == read_info(tiny_run.run.bundle)
    with pytest.raises(DermaError, match="--prior-weight: an int8 bundle keeps that of the run's"):
        export(str(copy), prior_weight=0.5, precision="int8")
    with pytest.raises(DermaError, match="--tta: an int8 bundle keeps that of the run's"):
        export(str(copy), tta=2, precision="int8")
    with pytest.raises(DermaError, match="--sets: an int8 bundle keeps that of the run's"):
        export(str(copy), sets="marginal", precision="int8")
    with pytest.raises(DermaError, match="--tta: 3: use one of 1, 2, 4, 8"):
        export_run(tiny_run.run, tiny_run.dataset, tmp_path / "three", tta=3)


def test_a_graph_of_several_views_is_quantized_as_any_other(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "MOST_LOST", {"balanced_accuracy": 1.0, "macro_auc": 1.0})
    project = Project(Workspace(root), new_run(root, "views", model=shallow()))
    run, dataset = project.run, project.dataset
    train(run, dataset)
    bundle = export_run(run, dataset, tta=2, sets="class-conditional")
    quantized = export_quantized(run, dataset, "int8")
    assert read_info(quantized).tta == 2
    assert read_info(quantized).conformal.sets == "class-conditional"
    original, found = onnx.load(bundle / "model.onnx"), onnx.load(quantized / "model.onnx")
    assert len(map_convolutions(cut_network(original))) > 1
    pixels, _ = validation(project)
    rows = np.arange(len(pixels))
    for output in ("probabilities", "activation_maps"):
        [before] = run_graph(original, pixels, rows, (output,))
        [after] = run_graph(found, pixels, rows, (output,))
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9
