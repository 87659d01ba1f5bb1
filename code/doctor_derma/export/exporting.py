"""A finished run to a bundle on disk."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

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
from doctor_derma.export.calibration import DEFAULT_RULE, check_decision, fit_outputs
from doctor_derma.export.onnx import ServingGraph, load_network, write_graph
from doctor_derma.export.ood import ACCEPTANCE, OodScore, choose_rows, fit_distance, ood_threshold
from doctor_derma.export.out_of_fold import network_outputs, pool_outputs, twins_of
from doctor_derma.export.patient import fit_patient_term, patients_of
from doctor_derma.images.decoding import DECODER
from doctor_derma.images.large_pictures import load_libvips
from doctor_derma.images.quality import measure_quality
from doctor_derma.models.networks import LesionNetwork
from doctor_derma.training.config import Size, check_tta
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
    and the validation metrics are taken, on the validation split. A run that is trained on that
    too has twins, trained by the same recipe without one fold each (`twins_of`): what is fitted is
    fitted to their outputs on those folds, and the distance of out-of-distribution pictures, which
    is alike in all these networks, is measured in the run's own features.
    Nothing is written unless the graph agrees with the torch network.

    Parameters
    ----------
    prior_weight : weight of the class priors, see `calibrate`; the recipe's unless given
    tta : views of each picture that the graph averages, see ``models/tta.py``; the recipe's unless
        given
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
    if run.info.data_fingerprint != dataset.fingerprint:
        raise DermaError(
            f"{dataset.folder}: not the data that run '{run.name}' was trained on; "
            "import those again"
        )
    check_decision(dataset.classes, rule or DEFAULT_RULE, costs)
    twins = twins_of(run)
    network = load_network(run)
    size = run.config.image_size
    network.tta = _checked_tta(run.config.tta if tta is None else tta, size)
    pixels = pixel_cache(dataset, *size)
    train = parts_of(dataset, run.config).train
    trained = dataset.targets(dataset.table.iloc[train])
    counts = np.bincount(trained, minlength=len(dataset.classes))
    found = [_unseen_outputs(twin, dataset, pixels, network.tta) for twin in twins]
    rows, logits, distances = pool_outputs(*zip(*(each[:3] for each in found), strict=True))
    distance = found[0].distance if twins == [run] else _own_distance(network, pixels, train)
    labels = np.array(dataset.targets(dataset.table.iloc[rows]))
    lesions = dataset.table["lesion"].to_numpy(dtype=str)[rows]
    fitted = fit_outputs(
        *(logits, labels, lesions),
        dataset.classes,
        counts,
        balanced=run.config.balanced,
        prior_weight=run.config.prior_weight if prior_weight is None else prior_weight,
        rule=rule or DEFAULT_RULE,
        costs=costs,
        sets=sets,
    )
    patients = fit_patient_term(
        fitted.probabilities,
        labels,
        lesions,
        patients_of(dataset.table.iloc[rows]),
        fitted.rulebook,
        sets,
    )
    ood = distance.scaled(ood_threshold(distances))
    graph = ServingGraph(network, fitted.calibration, ood)
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
            architecture=run.config.model,
            classes=tuple(
                DiagnosisName(name=name, full_name=full_name(name)) for name in dataset.classes
            ),
            input=InputSize(height=size.height, width=size.width, mean=mean, std=std),
            temperature=fitted.calibration.temperature,
            prior_weight=fitted.prior_weight,
            tta=network.tta,
            class_shares=fitted.class_shares,
            map_shift=places.shift,
            map_scale=places.scale,
            conformal=fitted.conformal,
            ood=OodThreshold(acceptance=ACCEPTANCE, images=len(rows)),
            quality=_quality_limits(pixels[choose_rows(train)]),
            patient=patients,
            decision=fitted.decision,
            metrics={"val": fitted.metrics},
            data=DataProvenance(
                name=run.info.data_name,
                fingerprint=run.info.data_fingerprint,
                licence=run.info.data_licence,
                images=run.info.images,
            ),
            pretrained=Pretrained(**run.info.pretrained) if run.info.pretrained else None,
            twin=_names(twins) if run.info.twin else None,
            code=CodeProvenance(version=run.info.version, git_commit=run.info.git_commit),
            decoder=_decoder(),
            recipe=run.config.model_dump(mode="json"),
            weights=Weights(sha256=file_sha256(path), bytes=path.stat().st_size, precision="fp32"),
            parity=Parity(max_probability_difference=difference, images=len(checked)),
        )
        write_info(folder, info)
    return target


def check_parity(graph: ServingGraph, path: Path, pixels: np.ndarray) -> float:
    """Compare a graph on disk with its torch original on real images.

    Parameters
    ----------
    pixels : uint8 RGB of shape (n, height, width, 3)

    Returns
    -------
    the largest absolute difference of any probability

    Raises
    ------
    DermaError
        When it is over ``TOLERANCE``.
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


def _names(twins: list[Run]) -> str | tuple[str, ...]:
    names = tuple(twin.name for twin in twins)
    return names if len(names) > 1 else names[0]


class _Unseen(NamedTuple):
    """What a network says of the images that it has not seen, and its distance of any features."""

    rows: np.ndarray
    logits: np.ndarray
    distances: np.ndarray
    distance: OodScore


def _unseen_outputs(run: Run, dataset: Dataset, pixels: np.ndarray, tta: int) -> _Unseen:
    network = load_network(run)
    network.tta = tta
    parts = parts_of(dataset, run.config)
    logits, features = network_outputs(network, pixels, parts.val)
    distance = _own_distance(network, pixels, parts.train)
    return _Unseen(parts.val, logits, distance(features), distance)


def _own_distance(network: LesionNetwork, pixels: np.ndarray, train: np.ndarray) -> OodScore:
    return fit_distance(network_outputs(network, pixels, choose_rows(train))[1])


def _checked_tta(count: int, size: Size) -> int:
    try:
        check_tta(count, size)
    except ValueError as error:
        raise DermaError(f"--tta: {count}: {error}") from error
    return count


def _quality_limits(pixels: np.ndarray) -> QualityLimits:
    found = [measure_quality(picture) for picture in pixels]
    luminance = [quality.luminance for quality in found]
    sharpness = [quality.sharpness for quality in found]
    return QualityLimits(
        darkest=float(np.quantile(luminance, _RARE)),
        brightest=float(np.quantile(luminance, 1 - _RARE)),
        blurriest=float(np.quantile(sharpness, _RARE)),
    )
