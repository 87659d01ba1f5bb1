"""A run's bundle to a quantized one, int8 or fp16, if that is as good.

**int8** multiplies integers: ``export/int8.py``.

**fp16** keeps the weights in 16 bits: half the file, the same work. ONNX Runtime has no 16-bit
convolutions for x86 processors. It turns the weights into fp32 when it loads the graph, so that
inference takes the time and the memory of the fp32 graph.
"""

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

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
from doctor_derma.export.exporting import check_trained_on, fit_bundle
from doctor_derma.export.int8 import quantize_int8
from doctor_derma.export.onnx import (
    FEATURES,
    LOGITS,
    cut_network,
    join_head,
    map_convolutions,
    run_graph,
)
from doctor_derma.export.ood import OodScore, choose_rows, fit_distance, ood_threshold
from doctor_derma.export.out_of_fold import pool_outputs, twins_of
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
    same images as at first: temperature and offsets of the softmax, mean, covariance and threshold
    of the OOD score, the thresholds of the prediction sets and of melanoma, and what patient data
    say beside a picture. Kept are the class shares and their weight, the limits of quality, the
    shift of the maps, the default rule, the costs and what the prediction sets promise. The metrics
    in ``model.json`` are those of the images that it is fitted to.

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
    decision = info.decision
    if decision.default == "operating-point":
        raise DermaError(
            f"--precision {precision}: the operating point of {run.name} holds for its fp32 bundle "
            f"only; write that again without it, 'derma export {run.name}', then this one"
        )
    pixels = pixel_cache(dataset, info.input.height, info.input.width)
    targets = np.array(dataset.targets(dataset.table))
    # Twins, if there are any, are quantized as well: only they have images not seen in training.
    found = [
        _quantized_outputs(twin, dataset, pixels, targets, precision, decision) for twin in twins
    ]
    rows, logits, distances, before, decided = pool_outputs(
        *zip(*(outputs for *_, outputs in found), strict=True)
    )
    original = run.bundle / info.weights.file
    network, distance, _ = found[0]
    if twins != [run]:
        train = parts_of(dataset, run.config).train
        network, distance = _quantize(original, precision, pixels, train, targets)
    fitted, entries = fit_bundle(
        *(run, dataset, rows, logits),
        *(info.prior_weight, decision.default, decision.costs, info.conformal.sets),
    )
    ood = distance.scaled(ood_threshold(distances))
    model = round_matrices(join_head(network, fitted.calibration, ood))
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
        changes = {
            "name": name,
            "run": name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "weights": Weights(
                sha256=file_sha256(path), bytes=path.stat().st_size, precision=precision
            ),
            "parity": parity_of(expected, probabilities),
        }
        write_info(folder, info.model_copy(update=entries | changes))
    return target


def check_loss(
    before: dict[str, float], after: dict[str, float], run: Run, precision: QuantizedPrecision
) -> None:
    """Raise `DermaError` where a metric of ``MOST_LOST`` has fallen by more than there."""
    for metric, most in MOST_LOST.items():
        if before[metric] - after[metric] > most:
            raise DermaError(
                f"--precision {precision}: the validation {metric.replace('_', ' ')} of "
                f"{run.name} falls from {before[metric]:.4f} to {after[metric]:.4f}, by more than "
                f"{most:g}, so no bundle was written; use the fp32 one"
            )


def _read_original(run: Run, dataset: Dataset) -> BundleInfo:
    info = read_info(run.bundle)
    check_trained_on(run, dataset)
    if info.data.fingerprint != dataset.fingerprint:
        raise DermaError(
            f"{run.bundle}: of other data than run '{run.name}'; export fp32 first: "
            f"derma export {run.name}"
        )
    if info.weights.precision != "fp32":
        raise DermaError(
            f"{run.bundle}: {info.weights.precision} already; export fp32 first: "
            f"derma export {run.name}"
        )
    return info


def _quantized_outputs(
    run: Run,
    dataset: Dataset,
    pixels: np.ndarray,
    targets: np.ndarray,
    precision: QuantizedPrecision,
    decision: Decision,
) -> tuple[ModelProto, OodScore, tuple[np.ndarray, ...]]:
    """Return a run's quantized network and its distance, and what it says of unseen images.

    That is: rows, logits, distances, and the probabilities and decisions of before.
    """
    info, parts = _read_original(run, dataset), parts_of(dataset, run.config)
    original = run.bundle / info.weights.file
    network, distance = _quantize(original, precision, pixels, parts.train, targets)
    logits, features = run_graph(network, pixels, parts.val, (LOGITS, FEATURES))
    [before] = run_graph(original, pixels, parts.val, (PROBABILITIES,))
    # By the rule of the run, as that of a twin may be another.
    decided = info.deciding(decision.default, decision.costs).rulebook.decide(before)
    return network, distance, (parts.val, logits, distance(features), before, decided)


def _quantize(
    graph: Path,
    precision: QuantizedPrecision,
    pixels: np.ndarray,
    train: np.ndarray,
    targets: np.ndarray,
) -> tuple[ModelProto, OodScore]:
    network = cut_network(onnx.load(graph))
    if precision == "fp16":
        network = round_to_fp16(network)
    else:
        network = quantize_int8(network, [pixels[row] for row in range_rows(train, targets)])
    [features] = run_graph(network, pixels, choose_rows(train), (FEATURES,))
    return network, fit_distance(features)


def range_rows(train: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Choose images of ``train``, as many of each class, that show the ranges of the maps.

    ``targets`` are the classes of all rows of the data set.
    """
    shuffled = np.random.default_rng(0).permutation(train)
    each = [shuffled[targets[shuffled] == k][:_RANGE_IMAGES] for k in np.unique(targets)]
    return np.concatenate(each)


def parity_of(expected: np.ndarray, found: np.ndarray) -> Parity:
    """Compare the probabilities of a quantized graph with those of fp32, both (n, classes)."""
    return Parity(
        reference="fp32 graph",
        max_probability_difference=float(np.abs(found - expected).max()),
        same_label=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        images=len(found),
    )


def round_to_fp16(network: ModelProto) -> ModelProto:
    """Return a network of `cut_network` whose convolutions of maps read fp16 weights."""
    return _stored_in_fp16(network, {node.input[1] for node in map_convolutions(network)})


def round_matrices(model: ModelProto) -> ModelProto:
    """Return a graph whose matrices are in fp16: the directions of the OOD score, for the most.

    They are a quarter of the bytes of a small network in int8.
    """
    products = (node for node in model.graph.node if node.op_type == "MatMul")
    return _stored_in_fp16(model, {node.input[1] for node in products})


def _stored_in_fp16(model: ModelProto, names: set[str]) -> ModelProto:
    halved = copy.deepcopy(model)
    casts = []
    for weight in halved.graph.initializer:
        if weight.name in names:
            name, halves = weight.name, f"{weight.name}.fp16"
            rounded = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(rounded, halves))
            casts.append(helper.make_node("Cast", [halves], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    return halved
