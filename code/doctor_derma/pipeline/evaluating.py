"""``derma evaluate`` and ``derma compare``."""

import math
from pathlib import Path

from doctor_derma.bundle import BundleInfo, read_info
from doctor_derma.data.manifest import read_dataset
from doctor_derma.decisions import Costs, Rule
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.comparison import Comparison
from doctor_derma.evaluation.cost import Cost, measure_costs
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.evaluation.replicate_design import (
    Replicate,
    differing_settings,
    pair_replicates,
)
from doctor_derma.evaluation.replicates import SeedComparison
from doctor_derma.evaluation.replicates_report import write_seed_comparison
from doctor_derma.evaluation.report import Figures, write_comparison, write_evaluation
from doctor_derma.inference.classifier import Classifier
from doctor_derma.pipeline.models import find_bundle, predict, provenance, without_pictures
from doctor_derma.terminal import terminal
from doctor_derma.tracking.evaluations import log_comparison, log_evaluation
from doctor_derma.workspace import Workspace


def evaluate(
    workspace: Workspace,
    reference: str,
    split: str,
    gallery: bool = True,
    rule: Rule | None = None,
    costs: Costs | None = None,
) -> tuple[Predictions, Figures, Path]:
    """Evaluate a run or bundle on a split of the data, in ``evaluation_images/<model>/``.

    Without ``gallery`` no picture of the data set is in the report, so that it may be
    published whatever the licence of the pictures.

    Figures by another ``rule`` or other ``costs`` than the bundle's own are not what it is known
    by: they are not tracked, and in ``evaluation_images/<model>-<rule>/``.
    """
    dataset = read_dataset(workspace.data)
    classifier, predictions = predict(workspace, reference, dataset, split, rule, costs)
    info = classifier.info
    if not gallery:
        predictions = without_pictures(predictions)
    if own := rule is None and costs is None:
        folder = workspace.evaluation_images / predictions.name
    else:
        folder = workspace.evaluation_images / f"{predictions.name}-{predictions.rule}"
    figures = write_evaluation(predictions, provenance(info, dataset, split), folder)
    values = {name: found.value for name, found in figures.metrics.items()}
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    if own and info.run != info.name:
        log_evaluation(workspace, info.run, split, finite, folder)
    return predictions, figures, folder


def compare(
    workspace: Workspace, references: list[str], split: str, gallery: bool = True
) -> tuple[Comparison, Path]:
    """Compare runs or bundles on a split, in ``evaluation_images/comparison/``."""
    dataset = read_dataset(workspace.data)
    predicted = [predict(workspace, reference, dataset, split) for reference in references]
    infos = [classifier.info for classifier, _ in predicted]
    models = [found if gallery else without_pictures(found) for _, found in predicted]
    folder = workspace.evaluation_images / "comparison"
    comparison = write_comparison(
        models, [provenance(info, dataset, split) for info in infos], folder
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
        terminal(error=True).print(
            f"These runs differ in more than model and seed: {', '.join(settings)}", style="yellow"
        )
    models = [predict(workspace, reference, dataset, split)[1] for reference in references]
    by_name = {info.name: bundle for info, bundle in zip(infos, bundles, strict=True)}
    firsts = {architecture: next(iter(runs.values())) for architecture, runs in paired.items()}
    costs = measure_costs(
        {name: Classifier.load(by_name[run.name], threads=1) for name, run in firsts.items()}
    )
    folder = workspace.evaluation_images / "seeds"
    provenances = [provenance(info, dataset, split) for info in infos]
    comparison = write_seed_comparison(replicates, models, provenances, costs, folder)
    log_comparison(workspace, [info.name for info in infos], folder)
    return comparison, costs, folder


def _replicate(info: BundleInfo) -> Replicate:
    seed = info.recipe.get("seed")
    if not isinstance(seed, int):
        raise DermaError(f"{info.name}: its recipe names no seed; export the run again")
    return Replicate(info.name, info.architecture, seed)
