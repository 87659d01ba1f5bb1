"""A run's bundle to another one in fewer bits, if that is as good."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.bundle import (
    GRAPH_FILE,
    INFO_FILE,
    BundleInfo,
    Familiar,
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
from doctor_derma.export.exporting import training_sample, twin_of
from doctor_derma.export.familiarity import (
    ACCEPTANCE,
    Familiarity,
    distance_threshold,
    fit_distance,
)
from doctor_derma.export.fitting import fit_outputs
from doctor_derma.export.fp16 import halve_weights
from doctor_derma.export.graph_parts import FEATURES, LOGITS, cut_network, join_head
from doctor_derma.export.graph_running import run_graph
from doctor_derma.export.int8 import quantise_network
from doctor_derma.training.folds import parts_of
from doctor_derma.training.runs import Run

Reduced = Literal["fp16", "int8"]
MOST_LOST = {"balanced_accuracy": 0.005, "macro_auc": 0.005}
# Training images of each class that show the ranges of the maps.
_RANGE_IMAGES = 28


def export_reduced(
    run: Run, dataset: Dataset, precision: Reduced, destination: Path | None = None
) -> Path:
    """Write a bundle whose network has fewer bits than that of the run's own bundle.

    What is fitted to the network's outputs is fitted to those of the reduced network, on the
    same images as at first: the temperature and with it the offsets of the softmax, the mean,
    covariance and threshold of unfamiliarity, and the thresholds of the prediction sets and of
    melanoma. What depends on the images or on the places of the cells alone is kept: the class
    shares and their weight, the limits of quality, the shift of the maps; and so are the default
    rule and the costs. The metrics in ``model.json`` are those of the validation split.

    The bundle is a model of its own, ``NAME-int8``, that MLflow doesn't know, so that its
    evaluations don't take the place of those of the fp32 bundle.

    Returns
    -------
    the bundle's folder, ``bundle-int8/`` or so in the run's folder unless ``destination`` is given

    Raises
    ------
    DermaError
        When the run has no fp32 bundle of these data, ``destination`` holds something else, or
        a validation metric of ``MOST_LOST`` falls by more than there; nothing is written then.
    """
    info, twin = _read_original(run, dataset), twin_of(run)
    _read_original(twin, dataset)
    pixels = pixel_cache(dataset, info.input.height, info.input.width)
    targets = np.array(dataset.targets(dataset.table))
    train = parts_of(dataset, run.config).train
    original = run.bundle / info.weights.file
    network = _reduce(cut_network(onnx.load(original)), precision, pixels, train, targets)
    unscaled = _distance(network, pixels, train)

    # The twin, if there is one, is reduced as well: only it has images that it has not seen.
    judged = parts_of(dataset, twin.config)
    judge, unscaled_judge, graph = network, unscaled, original
    if twin is not run:
        graph = twin.bundle / GRAPH_FILE
        judge = _reduce(cut_network(onnx.load(graph)), precision, pixels, judged.train, targets)
        unscaled_judge = _distance(judge, pixels, judged.train)
    val = judged.val
    logits, features = run_graph(judge, pixels, val, (LOGITS, FEATURES))
    familiarity = unscaled.scaled(distance_threshold(unscaled_judge, features))
    fitted = fit_outputs(
        logits,
        targets[val],
        dataset.table["lesion"].to_numpy(dtype=str)[val],
        dataset.classes,
        np.bincount(targets[train], minlength=len(dataset.classes)),
        balanced=run.config.balanced,
        prevalence=info.prevalence,
        rule=info.decision.default,
        costs=info.decision.costs,
    )
    model = join_head(network, fitted.calibration, familiarity)

    [unreduced] = run_graph(graph, pixels, val, ("probabilities",))
    decided = read_info(twin.bundle).rulebook.decide(unreduced)
    before = classification_metrics(targets[val], unreduced, dataset.classes, decided)
    check_loss(before, fitted.metrics, run, precision)
    [probabilities] = run_graph(model, pixels, val, ("probabilities",))
    [expected] = run_graph(original, pixels, val, ("probabilities",))
    target = destination or run.folder / f"bundle-{precision}"
    with replacing_own_folder(target, INFO_FILE) as folder:
        path = folder / GRAPH_FILE
        onnx.save(model, path)
        name = f"{info.name}-{precision}"
        reduced = info.model_copy(
            update={
                "name": name,
                "run": name,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "temperature": fitted.calibration.temperature,
                "conformal": fitted.conformal,
                "decision": fitted.decision,
                "familiar": Familiar(acceptance=ACCEPTANCE, images=len(val)),
                "metrics": {"val": fitted.metrics},
                "weights": Weights(
                    sha256=file_sha256(path), bytes=path.stat().st_size, precision=precision
                ),
                "parity": _parity(expected, probabilities),
            }
        )
        write_info(folder, reduced)
    return target


def check_loss(
    before: dict[str, float], after: dict[str, float], run: Run, precision: Reduced
) -> None:
    """Refuse a reduced network that is worse than the run's own.

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


def _reduce(
    network: onnx.ModelProto,
    precision: Reduced,
    pixels: np.ndarray,
    train: np.ndarray,
    targets: np.ndarray,
) -> onnx.ModelProto:
    if precision == "fp16":
        return halve_weights(network)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(train)
    # As many of each class, so that the ranges are not those of the commonest.
    chosen = [shuffled[targets[shuffled] == k][:_RANGE_IMAGES] for k in np.unique(targets)]
    return quantise_network(network, [pixels[row] for row in np.concatenate(chosen)])


def _distance(network: onnx.ModelProto, pixels: np.ndarray, train: np.ndarray) -> Familiarity:
    [features] = run_graph(network, pixels, training_sample(train), (FEATURES,))
    return fit_distance(features)


def _parity(expected: np.ndarray, found: np.ndarray) -> Parity:
    return Parity(
        reference="fp32 graph",
        max_probability_difference=float(np.abs(found - expected).max()),
        same_label=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        images=len(found),
    )
