"""A finished run to a bundle on disk."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import PIL
import torch

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.bundle import (
    GRAPH_FILE,
    INFO_FILE,
    INPUT_NAME,
    BundleInfo,
    CodeProvenance,
    DataProvenance,
    DecoderProvenance,
    DiagnosisName,
    InputSize,
    OodThreshold,
    Parity,
    Pretrained,
    QualityLimits,
    SetKind,
    Weights,
    file_sha256,
    write_info,
)
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset
from doctor_derma.decisions import Costs, Rule
from doctor_derma.diagnoses import full_name
from doctor_derma.errors import DermaError
from doctor_derma.export.alignment import measure_map_places
from doctor_derma.export.calibration import DEFAULT_RULE, Fitted, check_decision, fit_outputs
from doctor_derma.export.onnx import ServingGraph, load_network, write_graph
from doctor_derma.export.ood import ACCEPTANCE, OodScore, choose_rows, fit_distance, ood_threshold
from doctor_derma.export.out_of_fold import network_outputs, pool_outputs, twins_of
from doctor_derma.export.patient import fit_patient_term, patients_of
from doctor_derma.images.decoding import DECODER
from doctor_derma.images.large_pictures import load_libvips
from doctor_derma.images.quality import measure_quality
from doctor_derma.models.networks import LesionNetwork
from doctor_derma.training.config import check_tta
from doctor_derma.training.folds import parts_of
from doctor_derma.training.runs import Run

PARITY_IMAGES = 64
TOLERANCE = 1e-4
# The share of training images that is beyond each limit of quality.
_RARE = 0.002


def export_run(
    run: Run,
    dataset: Dataset,
    destination: Path | None = None,
    prior_weight: float | None = None,
    tta: int | None = None,
    rule: Rule | None = None,
    costs: Costs | None = None,
    sets: SetKind = "marginal",
) -> Path:
    """Write the bundle of a run: graph and ``model.json``.

    The temperature, the conformal threshold and those of melanoma and of the OOD score are fitted,
    and the metrics taken, on the validation split. A run that is trained on that too has twins,
    trained by the same recipe without one fold each (`twins_of`): what is fitted is fitted to their
    outputs on those folds, but the distance of out-of-distribution pictures, which is alike in all
    these networks, is measured in the run's own features. Nothing is written unless the graph
    agrees with the torch network.

    Parameters
    ----------
    prior_weight : weight of the class priors, see `calibrate`; the recipe's unless given
    tta : views that the graph averages, see ``models/tta.py``; the recipe's unless given
    rule, costs : of the decisions, see `fit_outputs`
    sets : what the prediction sets promise, on average or for each class

    Returns
    -------
    the bundle's folder, ``bundle/`` in the run's folder unless ``destination`` is given

    Raises
    ------
    DermaError
        When the run has no finished epoch, the data are not its data, the costs or the rule don't
        fit them, parity fails, or ``destination`` holds something else.
    """
    if not run.best_checkpoint.is_file():
        raise DermaError(
            f"{run.best_checkpoint}: missing; finish an epoch: derma train --resume {run.name}"
        )
    check_trained_on(run, dataset)
    rule, config, size = rule or DEFAULT_RULE, run.config, run.config.image_size
    check_decision(dataset.classes, rule, costs)
    twins = twins_of(run)
    names = tuple(twin.name for twin in twins)
    network = load_network(run)
    network.tta = config.tta if tta is None else tta
    try:
        check_tta(network.tta, size)
    except ValueError as error:
        raise DermaError(f"--tta: {network.tta}: {error}") from error
    pixels = pixel_cache(dataset, *size)
    train = parts_of(dataset, config).train
    found = [_unseen_outputs(twin, dataset, pixels, network.tta) for twin in twins]
    rows, logits, distances = pool_outputs(*zip(*(outputs for _, outputs in found), strict=True))
    distance = found[0][0] if twins == [run] else _own_distance(network, pixels, train)
    weight = config.prior_weight if prior_weight is None else prior_weight
    fitted, entries = fit_bundle(run, dataset, rows, logits, weight, rule, costs, sets)
    graph = ServingGraph(network, fitted.calibration, distance.scaled(ood_threshold(distances)))
    target = destination or run.bundle
    with replacing_own_folder(target, INFO_FILE) as folder:
        path = folder / GRAPH_FILE
        write_graph(graph, *size, path)
        checked = rows[np.linspace(0, len(rows) - 1, min(PARITY_IMAGES, len(rows)), dtype=int)]
        difference = check_parity(graph, path, pixels[checked])
        mean, std = network.normalization.values
        places = measure_map_places(network, pixels[checked[:2]])
        info = BundleInfo(
            name=run.name,
            run=run.info.tracking_id or run.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            architecture=config.model,
            classes=tuple(
                DiagnosisName(name=name, full_name=full_name(name)) for name in dataset.classes
            ),
            input=InputSize(height=size.height, width=size.width, mean=mean, std=std),
            prior_weight=weight,
            tta=network.tta,
            class_shares=fitted.rulebook.class_shares,
            map_shift=places.shift,
            map_scale=places.scale,
            quality=_quality_limits(pixels[choose_rows(train)]),
            **entries,
            data=DataProvenance(
                name=run.info.data_name,
                fingerprint=run.info.data_fingerprint,
                licence=run.info.data_licence,
                images=run.info.images,
            ),
            pretrained=Pretrained(**run.info.pretrained) if run.info.pretrained else None,
            twin=(names if len(names) > 1 else names[0]) if run.info.twin else None,
            code=CodeProvenance(version=run.info.version, git_commit=run.info.git_commit),
            decoder=_decoder(),
            recipe=config.model_dump(mode="json"),
            weights=Weights(sha256=file_sha256(path), bytes=path.stat().st_size, precision="fp32"),
            parity=Parity(max_probability_difference=difference, images=len(checked)),
        )
        write_info(folder, info)
    return target


def check_trained_on(run: Run, dataset: Dataset) -> None:
    """Raise `DermaError` where the data are not those that a run was trained on."""
    if run.info.data_fingerprint != dataset.fingerprint:
        raise DermaError(
            f"{dataset.folder}: not the data that run '{run.name}' was trained on; "
            "import those again"
        )


def fit_bundle(
    run: Run,
    dataset: Dataset,
    rows: np.ndarray,
    logits: np.ndarray,
    prior_weight: float,
    rule: Rule,
    costs: Costs | None,
    sets: SetKind,
) -> tuple[Fitted, dict[str, Any]]:
    """Fit all that a bundle fits to the logits of the images in some rows, float (n, classes).

    Returns
    -------
    what was fitted, and what becomes of it and of patient data in `BundleInfo`
    """
    table = dataset.table.iloc[rows]
    labels, lesions = np.array(dataset.targets(table)), table["lesion"].to_numpy(dtype=str)
    trained = dataset.targets(dataset.table.iloc[parts_of(dataset, run.config).train])
    fitted = fit_outputs(
        *(logits, labels, lesions, dataset.classes),
        np.bincount(trained, minlength=len(dataset.classes)),
        balanced=run.config.balanced,
        prior_weight=prior_weight,
        rule=rule,
        costs=costs,
        sets=sets,
    )
    patient = fit_patient_term(
        fitted.probabilities, labels, lesions, patients_of(table), fitted.rulebook, sets
    )
    return fitted, {
        "temperature": fitted.calibration.temperature,
        "conformal": fitted.conformal,
        "ood": OodThreshold(acceptance=ACCEPTANCE, images=len(rows)),
        "patient": patient,
        "decision": fitted.decision,
        "metrics": {"val": fitted.metrics},
    }


def check_parity(graph: ServingGraph, path: Path, pixels: np.ndarray) -> float:
    """Return the largest absolute difference of a graph's probabilities from its torch original.

    ``pixels`` are real images, uint8 RGB of shape (n, height, width, 3). Over ``TOLERANCE`` it
    raises `DermaError`.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    exported = session.run(None, {INPUT_NAME: pixels})[0]
    with torch.inference_mode():
        original = graph(torch.from_numpy(pixels))[0].numpy()
    difference = float(np.abs(exported - original).max())
    if not difference <= TOLERANCE:
        raise DermaError(
            f"{path.name}: its probabilities differ from the network's by {difference:.2g}, "
            f"more than {TOLERANCE:g}, so no bundle was written; try another version of torch "
            "or onnxruntime"
        )
    return difference


def _decoder() -> DecoderProvenance:
    vips = load_libvips()
    libvips = ".".join(str(vips.version(part)) for part in range(3))
    return DecoderProvenance(version=DECODER, pillow=PIL.__version__, libvips=libvips)


def _unseen_outputs(
    run: Run, dataset: Dataset, pixels: np.ndarray, tta: int
) -> tuple[OodScore, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return a network's distance, and rows, logits and distances of the images it has not seen."""
    network = load_network(run)
    network.tta = tta
    parts = parts_of(dataset, run.config)
    logits, features = network_outputs(network, pixels, parts.val)
    distance = _own_distance(network, pixels, parts.train)
    return distance, (parts.val, logits, distance(features))


def _own_distance(network: LesionNetwork, pixels: np.ndarray, train: np.ndarray) -> OodScore:
    return fit_distance(network_outputs(network, pixels, choose_rows(train))[1])


def _quality_limits(pixels: np.ndarray) -> QualityLimits:
    found = [measure_quality(picture) for picture in pixels]
    darkest, brightest = np.quantile([of.luminance for of in found], [_RARE, 1 - _RARE])
    blurriest = np.quantile([of.sharpness for of in found], _RARE)
    return QualityLimits(
        darkest=float(darkest), brightest=float(brightest), blurriest=float(blurriest)
    )
