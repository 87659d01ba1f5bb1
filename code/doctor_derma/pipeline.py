"""What joins the rooms up: the steps of ``derma train``, ``evaluate``, ``compare``, ``promote``."""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from doctor_derma.audits.report import write_audit
from doctor_derma.audits.suite import AUDITS, Audit, Audited
from doctor_derma.data.manifest import MANIFEST_FILE, Dataset, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.comparison import Comparison
from doctor_derma.evaluation.cost import Cost, measure_costs
from doctor_derma.evaluation.predictions import Predictions, predict_split
from doctor_derma.evaluation.replicate_design import (
    Replicate,
    differing_settings,
    pair_replicates,
)
from doctor_derma.evaluation.replicates import SeedComparison
from doctor_derma.evaluation.replicates_report import write_seed_comparison
from doctor_derma.evaluation.report import write_comparison, write_evaluation
from doctor_derma.export.bundle import INFO_FILE, BundleInfo, read_info
from doctor_derma.export.card.evidence import Evidence, read_evidence
from doctor_derma.export.card.writing import write_card
from doctor_derma.export.exporting import export_run
from doctor_derma.export.promotion import promote_bundle
from doctor_derma.serving.classifier import Classifier
from doctor_derma.tracking.evaluations import log_comparison, log_evaluation
from doctor_derma.tracking.registry import fetch_champion
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.curves import CURVES_FILE, plot_curves
from doctor_derma.training.loop import train
from doctor_derma.training.runs import Run, create_run, is_first_process, open_run
from doctor_derma.workspace import Workspace


def start_run(workspace: Workspace, config: TrainConfig, name: str | None) -> Run | None:
    """Train a new run, export it, and track all of it.

    Returns
    -------
    the finished run, or None in all but the first of several processes
    """
    dataset = read_dataset(workspace.data)
    run = create_run(workspace.runs, config, dataset, name)
    try:
        return _train(workspace, run, dataset)
    except DermaError:
        if is_first_process() and not run.metrics_file.is_file():
            shutil.rmtree(run.folder, ignore_errors=True)  # It never began, so nothing is lost.
        raise


def resume_run(workspace: Workspace, reference: str) -> Run | None:
    """Go on with a run that was stopped, from its last finished epoch."""
    run = open_run(workspace.runs, reference)
    return _train(workspace, run, read_dataset(workspace.data))


def _train(workspace: Workspace, run: Run, dataset: Dataset) -> Run | None:
    tracker = Tracker(workspace)
    if is_first_process():
        tracker.start(run)
        run = run.with_tracking_id(tracker.tracking_id or run.info.tracking_id)
    try:
        if not train(run, dataset, tracker.log_epoch):
            return None
        plot_curves(run.metrics_file, run.folder / CURVES_FILE, run.name)
        bundle = export_run(run, dataset)
        tracker.log_run(run)
        tracker.log_model(run, bundle, read_info(bundle).metrics["val"]["balanced_accuracy"])
    except KeyboardInterrupt:
        tracker.finish("KILLED")
        hint = f"Stopped; to go on: derma train --resume {run.name}"
        Console(stderr=True, soft_wrap=True).print(hint, highlight=False)
        raise
    except BaseException:
        tracker.finish("FAILED")
        raise
    tracker.finish()
    return run


def find_bundle(workspace: Workspace, reference: str) -> Path:
    """Return the bundle folder of a path, a run's name, or ``champion``.

    Raises
    ------
    DermaError
        When there is no such bundle.
    """
    if (Path(reference) / INFO_FILE).is_file():
        return Path(reference)
    if reference == "champion":
        return workspace.champion
    run = open_run(workspace.runs, reference)
    if not (run.bundle / INFO_FILE).is_file():
        raise DermaError(f"{run.bundle}: not exported yet; run 'derma export {run.name}' first")
    return run.bundle


def evaluate(
    workspace: Workspace, reference: str, split: str, gallery: bool = True
) -> tuple[Predictions, dict[str, Interval], Path]:
    """Evaluate a run or bundle on a split of the data, in ``evaluation_images/<model>/``.

    Without ``gallery`` no picture of the data set is in the report, so that it may be
    published whatever the licence of the pictures.
    """
    dataset = read_dataset(workspace.data)
    classifier, predictions = _predict(workspace, reference, dataset, split)
    info = classifier.info
    if not gallery:
        predictions = _without_pictures(predictions)
    folder = workspace.evaluation_images / predictions.name
    intervals = write_evaluation(predictions, _provenance(info, dataset, split), folder)
    values = {name: found.value for name, found in intervals.items()}
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    if info.run != info.name:
        log_evaluation(workspace, info.run, split, finite, folder)
    return predictions, intervals, folder


def compare(
    workspace: Workspace, references: list[str], split: str, gallery: bool = True
) -> tuple[Comparison, Path]:
    """Compare runs or bundles on a split, in ``evaluation_images/comparison/``."""
    dataset = read_dataset(workspace.data)
    predicted = [_predict(workspace, reference, dataset, split) for reference in references]
    infos = [classifier.info for classifier, _ in predicted]
    models = [found if gallery else _without_pictures(found) for _, found in predicted]
    folder = workspace.evaluation_images / "comparison"
    comparison = write_comparison(
        models, [_provenance(info, dataset, split) for info in infos], folder
    )
    log_comparison(workspace, [info.name for info in infos], folder)
    return comparison, folder


def compare_over_seeds(
    workspace: Workspace, references: list[str], split: str
) -> tuple[SeedComparison, dict[str, Cost], Path]:
    """Compare architectures over the seeds of their runs, in ``evaluation_images/seeds/``.

    Raises
    ------
    DermaError
        When the runs are not two or more architectures with the same seeds, or as ``compare``.
    """
    dataset = read_dataset(workspace.data)
    bundles = [find_bundle(workspace, reference) for reference in references]
    infos = [read_info(bundle) for bundle in bundles]
    replicates = [_replicate(info) for info in infos]
    paired = pair_replicates(replicates)
    if settings := differing_settings([info.recipe for info in infos]):
        Console(stderr=True).print(
            f"[yellow]These runs differ in more than model and seed: {', '.join(settings)}",
            highlight=False,
        )
    models = [_predict(workspace, reference, dataset, split)[1] for reference in references]
    by_name = {info.name: bundle for info, bundle in zip(infos, bundles, strict=True)}
    firsts = {architecture: next(iter(runs.values())) for architecture, runs in paired.items()}
    costs = measure_costs(
        {name: Classifier.load(by_name[run.name], threads=1) for name, run in firsts.items()}
    )
    folder = workspace.evaluation_images / "seeds"
    provenances = [_provenance(info, dataset, split) for info in infos]
    comparison = write_seed_comparison(replicates, models, provenances, costs, folder)
    log_comparison(workspace, [info.name for info in infos], folder)
    return comparison, costs, folder


def audit(
    workspace: Workspace, reference: str, names: Sequence[str], split: str, limit: int | None
) -> Iterator[tuple[str, Audit, Path]]:
    """Audit a run or bundle, in ``evaluation_images/audits/<model>/<audit>/``, one by one.

    Parameters
    ----------
    names : of ``AUDITS``; all of them when empty
    limit : pictures that the robustness audit takes, None for all

    Raises
    ------
    DermaError
        When a name is unknown, or as ``evaluate`` does.
    """
    if unknown := sorted(set(names) - set(AUDITS)):
        raise DermaError(f"audit '{unknown[0]}': unknown; use {', '.join(AUDITS)}")
    dataset = read_dataset(workspace.data)
    classifier, predictions = _predict(workspace, reference, dataset, split)
    info = classifier.info
    audited = Audited(
        classifier,
        predictions,
        dataset,
        temperature=info.temperature,
        prevalence=info.prevalence,
        class_shares=info.class_shares,
        conformal_target=info.conformal.target,
        conformal_threshold=info.conformal.threshold,
        limit=limit,
    )
    for name in names or AUDITS:
        folder = workspace.evaluation_images / "audits" / info.name / name
        found = AUDITS[name](audited)
        write_audit(found, _provenance(info, dataset, split), folder)
        yield name, found, folder


def promote(workspace: Workspace, reference: str | None, destination: Path | None) -> Path:
    """Copy a bundle, by default the champion of the registry, to where serving finds it."""
    if reference is None:
        bundle = fetch_champion(workspace, read_dataset(workspace.data).info.name)
    else:
        bundle = find_bundle(workspace, reference)
    return promote_bundle(
        bundle,
        destination or workspace.champion,
        workspace.evaluation_images,
        _dataset_if_any(workspace),
    )


def write_model_card(workspace: Workspace, reference: str) -> tuple[Path, Evidence]:
    """Write the model card of a run or bundle again, with what was measured of it by now.

    Raises
    ------
    DermaError
        When there is no such bundle, or its evaluation or an audit can't be read.
    """
    bundle = find_bundle(workspace, reference)
    info = read_info(bundle)
    evidence = read_evidence(info, workspace.evaluation_images, _dataset_if_any(workspace))
    return write_card(bundle, info, evidence), evidence


def _dataset_if_any(workspace: Workspace) -> Dataset | None:
    imported = (workspace.data / MANIFEST_FILE).is_file()
    return read_dataset(workspace.data) if imported else None


def _predict(
    workspace: Workspace, reference: str, dataset: Dataset, split: str
) -> tuple[Classifier, Predictions]:
    classifier = Classifier.load(find_bundle(workspace, reference))
    info = classifier.info
    if info.class_names != dataset.classes:
        raise DermaError(
            f"{reference}: its classes ({', '.join(info.class_names)}) are not those of "
            f"{dataset.folder} ({', '.join(dataset.classes)}); evaluate it on data with its classes"
        )
    if info.data.name == dataset.info.name and info.data.fingerprint != dataset.fingerprint:
        Console(stderr=True).print(
            f"[yellow]{info.name} was trained on another import of '{info.data.name}': images of "
            f"this {split} split may have been in its training, so don't trust the figures",
            highlight=False,
        )
    return classifier, predict_split(classifier, dataset, split)


def _replicate(info: BundleInfo) -> Replicate:
    seed = info.recipe.get("seed")
    if not isinstance(seed, int):
        raise DermaError(f"{info.name}: its recipe names no seed; export the run again")
    return Replicate(info.name, info.architecture, seed)


def _without_pictures(predictions: Predictions) -> Predictions:
    return replace(predictions, paths=np.full(len(predictions.paths), ""))


def _provenance(info: BundleInfo, dataset: Dataset, split: str) -> dict[str, Any]:
    return {
        "split": split,
        "dataset": dataset.info.name,
        "dataset_fingerprint": dataset.fingerprint,
        "trained_on": info.data.fingerprint,
        "architecture": info.architecture,
        "weights_sha256": info.weights.sha256,
        "temperature": round(info.temperature, 4),
        "git_commit": info.code.git_commit,
        "recipe": info.recipe,
    }
