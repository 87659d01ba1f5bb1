"""``derma compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doctor_derma.commands.options import Gallery, Split
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    from doctor_derma.evaluation.tables import Table


def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more runs or bundles.")],
    split: Split = "test",
    gallery: Gallery = True,
    over_seeds: Annotated[
        bool,
        typer.Option("--over-seeds", help="Compare architectures, each trained with every seed."),
    ] = False,
) -> None:
    """Compare models on the same images, with paired differences and p-values."""
    workspace = Workspace.find()
    if over_seeds:
        tables, folder = _compare_seeds(workspace, runs, split)
    else:
        tables, folder = _compare_models(workspace, runs, split, gallery)
    terminal().print(*tables, f"Report: {folder / 'report.html'}")


def _compare_models(
    workspace: Workspace, references: list[str], split: str, gallery: bool
) -> tuple[list["Table"], Path]:
    """Compare runs or bundles on a split, in ``evaluation_images/comparison/``."""
    from doctor_derma.commands.models import predict, provenance, without_pictures
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.evaluation.report import write_comparison
    from doctor_derma.evaluation.tables import comparison_tables
    from doctor_derma.tracking.tracker import log_comparison

    dataset = read_dataset(workspace.data)
    predicted = [predict(workspace, reference, dataset, split) for reference in references]
    infos = [classifier.info for classifier, _ in predicted]
    models = [found if gallery else without_pictures(found) for _, found in predicted]
    folder = workspace.evaluation_images / "comparison"
    provenances = [provenance(info, dataset, split) for info in infos]
    comparison = write_comparison(models, provenances, folder)
    log_comparison(workspace, [info.name for info in infos], folder)
    return comparison_tables(comparison), folder


def _compare_seeds(
    workspace: Workspace, references: list[str], split: str
) -> tuple[list["Table"], Path]:
    """Compare architectures over the seeds of their runs, in ``evaluation_images/seeds/``."""
    from doctor_derma.bundle import read_info
    from doctor_derma.commands.models import find_bundle, predict, provenance
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.evaluation.cost import measure_costs
    from doctor_derma.evaluation.seeds import SeedRun, differing_settings, pair_runs
    from doctor_derma.evaluation.seeds_report import seed_comparison_tables, write_seed_comparison
    from doctor_derma.inference.classifier import Classifier
    from doctor_derma.tracking.tracker import log_comparison

    dataset = read_dataset(workspace.data)
    bundles = [find_bundle(workspace, reference) for reference in references]
    infos = [read_info(bundle) for bundle in bundles]
    seed_runs = []
    for info in infos:
        if not isinstance(seed := info.recipe.get("seed"), int):
            raise DermaError(f"{info.name}: its recipe names no seed; export the run again")
        seed_runs.append(SeedRun(info.name, info.architecture, seed))
    paired = pair_runs(seed_runs)
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
    comparison = write_seed_comparison(seed_runs, models, provenances, costs, folder)
    log_comparison(workspace, [info.name for info in infos], folder)
    return seed_comparison_tables(comparison, costs), folder
