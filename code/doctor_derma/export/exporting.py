"""A finished run to a bundle on disk."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.diagnoses import full_name
from doctor_derma.data.manifest import Dataset
from doctor_derma.data.quality import measure_quality
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.conformal import TARGET, conformal_threshold
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.export.alignment import measure_map_shift
from doctor_derma.export.bundle import (
    GRAPH_FILE,
    INFO_FILE,
    BundleInfo,
    CodeProvenance,
    Conformal,
    DataProvenance,
    DiagnosisName,
    Familiar,
    InputSize,
    Parity,
    QualityLimits,
    Weights,
    file_sha256,
    write_info,
)
from doctor_derma.export.calibrating import calibrate
from doctor_derma.export.card.evidence import Evidence
from doctor_derma.export.card.writing import write_card
from doctor_derma.export.familiarity import ACCEPTANCE, fit_familiarity
from doctor_derma.export.graph import ServingGraph, load_network, write_graph
from doctor_derma.export.parity import check_parity
from doctor_derma.models.colour import MEAN, STD
from doctor_derma.models.networks import LesionNetwork
from doctor_derma.training.augmentation import normalise
from doctor_derma.training.runs import Run

PARITY_IMAGES = 64
_BATCH = 64
_FAMILIAR_IMAGES = 2000
# The share of training images that is beyond each limit of quality.
_RARE = 0.002


def export_run(
    run: Run,
    dataset: Dataset,
    destination: Path | None = None,
    prevalence: float | None = None,
    views: int | None = None,
) -> Path:
    """Write the bundle of a run: graph, ``model.json`` and model card.

    The temperature, the conformal threshold and the threshold of unfamiliarity are fitted, and
    the validation metrics are taken, on the validation split.
    Nothing is written unless the graph agrees with the torch network.

    Parameters
    ----------
    prevalence : weight of the class shares, see `calibrate`; the recipe's unless given
    views : of each picture that the graph averages over, see ``models/views.py``; likewise

    Returns
    -------
    the bundle's folder, ``bundle/`` in the run's folder unless ``destination`` is given

    Raises
    ------
    DermaError
        When the run has no finished epoch, the data are not its data, parity fails, or
        ``destination`` holds something else.
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
    network = load_network(run)
    network.views = run.config.views if views is None else views
    size = run.config.image_size
    pixels = pixel_cache(dataset, size, size)
    rows = np.flatnonzero(dataset.table["split"] == "val")
    training = training_sample(np.flatnonzero(dataset.table["split"] == "train"))
    labels = np.array(dataset.targets(dataset.table.iloc[rows]))
    counts = np.bincount(dataset.targets(dataset.split("train")), minlength=len(dataset.classes))
    logits, features = network_outputs(network, pixels, rows)
    weight = run.config.prevalence if prevalence is None else prevalence
    calibration = calibrate(logits, labels, counts, balanced=run.config.balanced, prevalence=weight)
    probabilities = calibration.probabilities(logits)
    metrics = classification_metrics(labels, probabilities, dataset.classes)
    familiarity = fit_familiarity(network_outputs(network, pixels, training)[1], features)

    graph = ServingGraph(network, calibration, familiarity)
    target = destination or run.bundle
    with replacing_own_folder(target, INFO_FILE) as folder:
        path = folder / GRAPH_FILE
        write_graph(graph, size, size, path)
        checked = rows[np.linspace(0, len(rows) - 1, min(PARITY_IMAGES, len(rows)), dtype=int)]
        difference = check_parity(graph, path, pixels[checked])
        info = BundleInfo(
            name=run.name,
            run=run.info.tracking_id or run.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            architecture=run.config.model,
            classes=tuple(
                DiagnosisName(name=name, full_name=full_name(name)) for name in dataset.classes
            ),
            input=InputSize(height=size, width=size, mean=MEAN, std=STD),
            temperature=calibration.temperature,
            prevalence=weight,
            views=network.views,
            class_shares=tuple(float(share) for share in counts / counts.sum()),
            map_shift=measure_map_shift(network, pixels[checked[:2]]),
            conformal=Conformal(
                target=TARGET,
                threshold=conformal_threshold(probabilities, labels),
                images=len(labels),
            ),
            familiar=Familiar(acceptance=ACCEPTANCE, images=len(labels)),
            quality=_quality_limits(pixels[training]),
            metrics={"val": {name: value for name, value in metrics.items() if np.isfinite(value)}},
            data=DataProvenance(
                name=run.info.data_name,
                fingerprint=run.info.data_fingerprint,
                licence=run.info.data_licence,
                images=run.info.images,
            ),
            code=CodeProvenance(version=run.info.version, git_commit=run.info.git_commit),
            recipe=run.config.model_dump(mode="json"),
            weights=Weights(sha256=file_sha256(path), bytes=path.stat().st_size, precision="fp32"),
            parity=Parity(max_probability_difference=difference, images=len(checked)),
        )
        write_info(folder, info)
        write_card(folder, info, Evidence(dataset=dataset))
    return target


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
        console=Console(stderr=True),
        transient=True,
    )
    with torch.inference_mode():
        found = [
            network.logits_maps_and_features(normalise(torch.from_numpy(pixels[batch])))
            for batch in progress
        ]
    logits, _, features = (torch.cat(part).double().numpy() for part in zip(*found, strict=True))
    return logits, features


def training_sample(rows: np.ndarray) -> np.ndarray:
    """Choose so many training images that the distribution of their features is known well."""
    count = min(len(rows), _FAMILIAR_IMAGES)
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False))


def _quality_limits(pixels: np.ndarray) -> QualityLimits:
    found = [measure_quality(picture) for picture in pixels]
    luminance = [quality.luminance for quality in found]
    sharpness = [quality.sharpness for quality in found]
    return QualityLimits(
        darkest=float(np.quantile(luminance, _RARE)),
        brightest=float(np.quantile(luminance, 1 - _RARE)),
        blurriest=float(np.quantile(sharpness, _RARE)),
    )
