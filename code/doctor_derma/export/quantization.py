"""A run's bundle to a quantized one, int8 or fp16, if that is as good.

**int8** multiplies integers: ``export/int8.py``.

**fp16** keeps the weights in 16 bits: half the file, the same work. ONNX Runtime has no 16-bit
convolutions for x86 processors. It turns the weights into fp32 when it loads the graph, so that
inference takes the time and the memory of the fp32 graph.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.bundle import (
    GRAPH_FILE,
    INFO_FILE,
    PROBABILITIES,
    BundleInfo,
    Decision,
    OodThreshold,
    Parity,
    Weights,
    file_sha256,
    read_info,
    write_info,
)
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.calibration import fit_outputs
from doctor_derma.export.int8 import quantize_int8
from doctor_derma.export.onnx import (
    FEATURES,
    LOGITS,
    cut_network,
    join_head,
    map_convolutions,
    run_graph,
)
from doctor_derma.export.ood import ACCEPTANCE, OodScore, choose_rows, fit_distance, ood_threshold
from doctor_derma.export.out_of_fold import pool_outputs, twins_of
from doctor_derma.export.patient import fit_patient_term, patients_of
from doctor_derma.training.folds import parts_of
from doctor_derma.training.runs import Run

QuantizedPrecision = Literal["fp16", "int8"]
MOST_LOST = {"balanced_accuracy": 0.005, "macro_auc": 0.005}
# Training images of each class that show the ranges of the maps.
_RANGE_IMAGES = 28


def export_quantized(
    run: Run, dataset: Dataset, precision: QuantizedPrecision, destination: Path | None = None
) -> Path:
    """Write a bundle with the quantized network of the run's own bundle.

    What is fitted to the network's outputs is fitted to those of the quantized network, on the
    same images as at first: the temperature and with it the offsets of the softmax, the mean,
    covariance and threshold of the OOD score, the thresholds of the prediction sets and of
    melanoma, and what patient data say beside a picture. What depends on the images or on the
    places of the cells alone is kept: the class shares and their weight, the limits of quality, the
    shift of the maps; and so are the default rule, the costs and what the prediction sets promise.
    The metrics in ``model.json`` are those of the images that it is fitted to.

    The bundle is a model of its own, ``NAME-int8``, that MLflow doesn't know, so that its
    evaluations don't take the place of those of the fp32 bundle.

    Returns
    -------
    the bundle's folder, ``bundle-int8/`` or so in the run's folder unless ``destination`` is given

    Raises
    ------
    DermaError
        When the run has no fp32 bundle of these data, its rule is an operating point,
        ``destination`` holds something else, or a validation metric of ``MOST_LOST`` falls by more
        than there; nothing is written then.
    """
    info, twins = _read_original(run, dataset), twins_of(run)
    if info.decision.default == "operating-point":
        raise DermaError(
            f"--precision {precision}: the operating point of {run.name} holds for its fp32 bundle "
            f"only; write that again without it, 'derma export {run.name}', then this one"
        )
    pixels = pixel_cache(dataset, info.input.height, info.input.width)
    targets = np.array(dataset.targets(dataset.table))
    train = parts_of(dataset, run.config).train
    # Twins, if there are any, are quantized as well: only they have images not seen in training.
    found = [
        _quantized_outputs(twin, dataset, pixels, targets, precision, info.decision)
        for twin in twins
    ]
    rows, logits, distances, before, decided = pool_outputs(
        *zip(*(each[:5] for each in found), strict=True)
    )
    original = run.bundle / info.weights.file
    if twins == [run]:
        network, distance = found[0].network, found[0].distance
    else:
        network = _quantize(original, precision, pixels, train, targets)
        distance = _distance(network, pixels, train)
    lesions = dataset.table["lesion"].to_numpy(dtype=str)[rows]
    fitted = fit_outputs(
        *(logits, targets[rows], lesions),
        dataset.classes,
        np.bincount(targets[train], minlength=len(dataset.classes)),
        balanced=run.config.balanced,
        prior_weight=info.prior_weight,
        rule=info.decision.default,
        costs=info.decision.costs,
        sets=info.conformal.sets,
    )
    patients = fit_patient_term(
        fitted.probabilities,
        targets[rows],
        lesions,
        patients_of(dataset.table.iloc[rows]),
        fitted.rulebook,
        info.conformal.sets,
    )
    model = round_matrices(
        join_head(network, fitted.calibration, distance.scaled(ood_threshold(distances)))
    )
    metrics_before = classification_metrics(targets[rows], before, dataset.classes, decided)
    check_loss(metrics_before, fitted.metrics, run, precision)
    compared = choose_rows(rows)
    [probabilities] = run_graph(model, pixels, compared, (PROBABILITIES,))
    [expected] = run_graph(original, pixels, compared, (PROBABILITIES,))
    target = destination or run.folder / f"bundle-{precision}"
    with replacing_own_folder(target, INFO_FILE) as folder:
        path = folder / GRAPH_FILE
        onnx.save(model, path)
        name = f"{info.name}-{precision}"
        quantized = info.model_copy(
            update={
                "name": name,
                "run": name,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "temperature": fitted.calibration.temperature,
                "conformal": fitted.conformal,
                "patient": patients,
                "decision": fitted.decision,
                "ood": OodThreshold(acceptance=ACCEPTANCE, images=len(rows)),
                "metrics": {"val": fitted.metrics},
                "weights": Weights(
                    sha256=file_sha256(path), bytes=path.stat().st_size, precision=precision
                ),
                "parity": parity_of(expected, probabilities),
            }
        )
        write_info(folder, quantized)
    return target


def check_loss(
    before: dict[str, float], after: dict[str, float], run: Run, precision: QuantizedPrecision
) -> None:
    """Refuse a quantized network that is worse than the run's own.

    Raises
    ------
    DermaError
        When a metric of ``MOST_LOST`` has fallen by more than there.
    """
    for metric, most in MOST_LOST.items():
        if before[metric] - after[metric] > most:
            raise DermaError(
                f"--precision {precision}: the validation {metric.replace('_', ' ')} of "
                f"{run.name} falls from {before[metric]:.4f} to {after[metric]:.4f}, by more than "
                f"{most:g}, so no bundle was written; use the fp32 one"
            )


def _read_original(run: Run, dataset: Dataset) -> BundleInfo:
    info = read_info(run.bundle)
    if info.data.fingerprint != dataset.fingerprint:
        raise DermaError(
            f"{dataset.folder}: not the data that run '{run.name}' was trained on; "
            "import those again"
        )
    if info.weights.precision != "fp32":
        raise DermaError(
            f"{run.bundle}: {info.weights.precision} already; export fp32 first: "
            f"derma export {run.name}"
        )
    return info


class _QuantizedOutputs(NamedTuple):
    """What a network says, quantized and not, of the images that it has not seen."""

    rows: np.ndarray
    logits: np.ndarray
    distances: np.ndarray
    probabilities_before: np.ndarray
    decided_before: np.ndarray
    network: ModelProto
    distance: OodScore


def _quantized_outputs(
    run: Run,
    dataset: Dataset,
    pixels: np.ndarray,
    targets: np.ndarray,
    precision: QuantizedPrecision,
    decision: Decision,
) -> _QuantizedOutputs:
    info, parts = _read_original(run, dataset), parts_of(dataset, run.config)
    original = run.bundle / info.weights.file
    network = _quantize(original, precision, pixels, parts.train, targets)
    distance = _distance(network, pixels, parts.train)
    logits, features = run_graph(network, pixels, parts.val, (LOGITS, FEATURES))
    [before] = run_graph(original, pixels, parts.val, (PROBABILITIES,))
    # By the rule of the run, as that of a twin may be another.
    decided = info.deciding(decision.default, decision.costs).rulebook.decide(before)
    return _QuantizedOutputs(
        parts.val, logits, distance(features), before, decided, network, distance
    )


def _quantize(
    graph: Path,
    precision: QuantizedPrecision,
    pixels: np.ndarray,
    train: np.ndarray,
    targets: np.ndarray,
) -> ModelProto:
    network = cut_network(onnx.load(graph))
    if precision == "fp16":
        return round_to_fp16(network)
    return quantize_int8(network, [pixels[row] for row in range_rows(train, targets)])


def range_rows(train: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Choose images that show the ranges of the maps: as many of each class.

    So the ranges are not those of the commonest.

    Parameters
    ----------
    train : rows to choose from
    targets : class of every row of the data set
    """
    shuffled = np.random.default_rng(0).permutation(train)
    each = [shuffled[targets[shuffled] == k][:_RANGE_IMAGES] for k in np.unique(targets)]
    return np.concatenate(each)


def _distance(network: ModelProto, pixels: np.ndarray, train: np.ndarray) -> OodScore:
    [features] = run_graph(network, pixels, choose_rows(train), (FEATURES,))
    return fit_distance(features)


def parity_of(expected: np.ndarray, found: np.ndarray) -> Parity:
    """Compare the probabilities of a quantized graph with those of fp32, both (n, classes)."""
    return Parity(
        reference="fp32 graph",
        max_probability_difference=float(np.abs(found - expected).max()),
        same_label=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        images=len(found),
    )


def round_to_fp16(network: ModelProto) -> ModelProto:
    """Return a network whose convolutions of maps read their weights from fp16.

    Parameters
    ----------
    network : of `onnx.cut_network`
    """
    return _stored_in_fp16(network, {node.input[1] for node in map_convolutions(network)})


def round_matrices(model: ModelProto) -> ModelProto:
    """Return a graph whose matrices are in fp16: the directions of the OOD score, for the most.

    They are a quarter of the bytes of a small network in int8.
    """
    products = (node for node in model.graph.node if node.op_type == "MatMul")
    return _stored_in_fp16(model, {node.input[1] for node in products})


def _stored_in_fp16(model: ModelProto, names: set[str]) -> ModelProto:
    halved = ModelProto()
    halved.CopyFrom(model)
    casts = []
    for weight in halved.graph.initializer:
        if weight.name in names:
            name = weight.name
            rounded = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(rounded, f"{name}.fp16"))
            casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    return halved
