"""``derma evaluate``, ``derma compare`` and ``derma audit``."""

from typing import Annotated

import typer

from doctor_derma.cli.deciding import CostsFile, RuleChoice, costs_in
from doctor_derma.cli.entry import Reference, app
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

Split = Annotated[str, typer.Option(help="Which split to evaluate on: test, val or train.")]
Gallery = Annotated[bool, typer.Option(help="Show pictures of the data set in the report.")]


@app.command()
def evaluate(
    run: Reference,
    split: Split = "test",
    gallery: Gallery = True,
    rule: RuleChoice = None,
    costs: CostsFile = None,
) -> None:
    """Measure a model with 95% intervals; pictures and report in evaluation_images/."""
    from doctor_derma.evaluation.tables import evaluation_tables
    from doctor_derma.pipeline import evaluate

    predictions, figures, folder = evaluate(
        Workspace.find(), run, split, gallery, rule, costs_in(costs)
    )
    tables = evaluation_tables(predictions, figures.metrics, figures.rules)
    terminal().print(*tables, f"Report: {folder / 'report.html'}")


@app.command()
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
    if over_seeds:
        _compare_over_seeds(runs, split)
        return
    from doctor_derma.evaluation.tables import comparison_tables
    from doctor_derma.pipeline import compare

    comparison, folder = compare(Workspace.find(), runs, split, gallery)
    terminal().print(*comparison_tables(comparison), f"Report: {folder / 'report.html'}")


def _compare_over_seeds(runs: list[str], split: str) -> None:
    from doctor_derma.evaluation.replicates_tables import seed_comparison_tables
    from doctor_derma.pipeline import compare_over_seeds

    comparison, costs, folder = compare_over_seeds(Workspace.find(), runs, split)
    tables = seed_comparison_tables(comparison, costs)
    terminal().print(*tables, f"Report: {folder / 'report.html'}")


@app.command()
def audit(
    model: Reference,
    only: Annotated[
        list[str] | None,
        typer.Option(help="calibration, coverage, unfamiliar, subgroups, explanations, robustness"),
    ] = None,
    split: Split = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Images that the robustness audit takes.")
    ] = None,
) -> None:
    """Look behind the headline: for whom, when and why a model is right, and if it knows."""
    from doctor_derma.pipeline import audit

    for _, found, folder in audit(Workspace.find(), model, only or [], split, limit):
        terminal().print(*found.tables, f"Files: {folder}\n")
