"""A finished run to a bundle on disk."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.bundle import (
    GRAPH_FILE,
    INFO_FILE,
    BundleInfo,
    CodeProvenance,
    DataProvenance,
    DiagnosisName,
    InputSize,
    OodThreshold,
    Parity,
    Pretrained,
    QualityLimits,
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
from doctor_derma.export.ood import ACCEPTANCE, fit_distance, ood_threshold
from doctor_derma.export.parity import check_parity
from doctor_derma.images.quality import measure_quality
from doctor_derma.models.networks import LesionNetwork
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.terminal import terminal
from doctor_derma.training.config import Size, check_views
from doctor_derma.training.folds import parts_of
from doctor_derma.training.runs import Run, open_run

PARITY_IMAGES = 64
_BATCH = 64
_TRAINING_SAMPLE = 2000
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
) -> Path:
    """Write the bundle of a run: graph and ``model.json``.

    The temperature, the conformal threshold and those of melanoma and of the OOD score are fitted,
    and the validation metrics are taken, on the validation split. A run that is trained on that
    too has a twin, trained by the same recipe without one fold: what is fitted is fitted to its
    outputs on that fold, and the distance of out-of-distribution pictures, which is alike in both
    networks, is measured in the run's own features.
    Nothing is written unless the graph agrees with the torch network.

    Parameters
    ----------
    prior_weight : weight of the class priors, see `calibrate`; the recipe's unless given
    tta : looks at each picture that the graph averages over, see ``models/tta.py``; likewise
    rule, costs : of the decisions, see `fit_outputs`

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
    twin = twin_of(run)
    network = load_network(run)
    size = run.config.image_size
    network.views = _checked_tta(run.config.views if tta is None else tta, size)
    pixels = pixel_cache(dataset, *size)
    parts = parts_of(dataset, run.config)
    rows, training = parts_of(dataset, twin.config).val, training_sample(parts.train)
    trained = dataset.targets(dataset.table.iloc[parts.train])
    counts = np.bincount(trained, minlength=len(dataset.classes))
    logits, threshold = _seen_by(twin, network, dataset, pixels)
    fitted = fit_outputs(
        logits,
        np.array(dataset.targets(dataset.table.iloc[rows])),
        dataset.table["lesion"].to_numpy(dtype=str)[rows],
        dataset.classes,
        counts,
        balanced=run.config.balanced,
        prior_weight=run.config.prevalence if prior_weight is None else prior_weight,
        rule=rule or DEFAULT_RULE,
        costs=costs,
    )
    ood = fit_distance(network_outputs(network, pixels, training)[1]).scaled(threshold)

    graph = ServingGraph(network, fitted.calibration, ood)
    target = destination or run.bundle
    with replacing_own_folder(target, INFO_FILE) as folder:
        path = folder / GRAPH_FILE
        write_graph(graph, *size, path)
        checked = rows[np.linspace(0, len(rows) - 1, min(PARITY_IMAGES, len(rows)), dtype=int)]
        difference = check_parity(graph, path, pixels[checked])
        places = measure_map_places(network, pixels[checked[:2]])
        info = BundleInfo(
            name=run.name,
            run=run.info.tracking_id or run.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            architecture=run.config.model,
            classes=tuple(
                DiagnosisName(name=name, full_name=full_name(name)) for name in dataset.classes
            ),
            input=_input_size(size, network),
            temperature=fitted.calibration.temperature,
            prior_weight=fitted.prior_weight,
            tta=network.views,
            class_shares=fitted.class_shares,
            map_shift=places.shift,
            map_scale=places.scale,
            conformal=fitted.conformal,
            ood=OodThreshold(acceptance=ACCEPTANCE, images=len(rows)),
            quality=_quality_limits(pixels[training]),
            decision=fitted.decision,
            metrics={"val": fitted.metrics},
            data=DataProvenance(
                name=run.info.data_name,
                fingerprint=run.info.data_fingerprint,
                licence=run.info.data_licence,
                images=run.info.images,
            ),
            pretrained=Pretrained(**run.info.pretrained) if run.info.pretrained else None,
            twin=run.info.twin,
            code=CodeProvenance(version=run.info.version, git_commit=run.info.git_commit),
            recipe=run.config.model_dump(mode="json"),
            weights=Weights(sha256=file_sha256(path), bytes=path.stat().st_size, precision="fp32"),
            parity=Parity(max_probability_difference=difference, images=len(checked)),
        )
        write_info(folder, info)
    return target


def twin_of(run: Run) -> Run:
    """Return the run whose outputs on unseen images are fitted: its twin, or itself.

    Raises
    ------
    DermaError
        When it was trained on the validation images and has no twin.
    """
    if run.info.twin:
        return open_run(run.folder.parent, run.info.twin)
    if run.config.refit:
        raise DermaError(
            f"{run.name}: trained on the validation images too, so nothing is left that its "
            "temperature and thresholds could be fitted to; name its twin, a run of the same "
            "recipe with --folds and --fold, in run.json"
        )
    return run


def _seen_by(
    twin: Run, network: LesionNetwork, dataset: Dataset, pixels: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the logits of the twin on its unseen images, and the distance most are within."""
    judge = load_network(twin)
    judge.views = network.views
    parts = parts_of(dataset, twin.config)
    logits, features = network_outputs(judge, pixels, parts.val)
    training = network_outputs(judge, pixels, training_sample(parts.train))[1]
    return logits, ood_threshold(fit_distance(training)(features))


def _checked_tta(count: int, size: Size) -> int:
    try:
        check_views(count, size)
    except ValueError as error:
        raise DermaError(f"--tta: {count}: {error}") from error
    return count


def network_outputs(
    network: LesionNetwork, pixels: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Run a network on some rows of a pixel cache.

    Returns
    -------
    logits : float64 of shape (n, classes)
    features : pooled features, float64 of shape (n, C)
    """
    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    progress = track(
        batches,
        description="Running the network",
        console=terminal(error=True),
        transient=True,
    )
    with torch.inference_mode():
        found = [
            network.logits_maps_and_features(scale_pixels(torch.from_numpy(pixels[batch])))
            for batch in progress
        ]
    logits, _, features = (torch.cat(part).double().numpy() for part in zip(*found, strict=True))
    return logits, features


def training_sample(rows: np.ndarray) -> np.ndarray:
    """Choose so many training images that the distribution of their features is known well."""
    count = min(len(rows), _TRAINING_SAMPLE)
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False))


def _input_size(size: Size, network: LesionNetwork) -> InputSize:
    mean, std = network.normalization.values
    return InputSize(height=size.height, width=size.width, mean=mean, std=std)


def _quality_limits(pixels: np.ndarray) -> QualityLimits:
    found = [measure_quality(picture) for picture in pixels]
    luminance = [quality.luminance for quality in found]
    sharpness = [quality.sharpness for quality in found]
    return QualityLimits(
        darkest=float(np.quantile(luminance, _RARE)),
        brightest=float(np.quantile(luminance, 1 - _RARE)),
        blurriest=float(np.quantile(sharpness, _RARE)),
    )
