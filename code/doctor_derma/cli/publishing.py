"""``derma export``, ``derma promote`` and ``derma card``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from doctor_derma.cli.deciding import CostsFile, RuleChoice, costs_in
from doctor_derma.cli.entry import Reference, app
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    to: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
    prevalence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Another weight of the classes' shares.")
    ] = None,
    views: Annotated[
        int | None, typer.Option(help="Another number of views of a picture: 1, 2, 4 or 8.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Bits of the network; fewer are a second bundle, beside the first."),
    ] = "fp32",
    rule: RuleChoice = None,
    costs: CostsFile = None,
) -> None:
    """Write a run's bundle again: the graph, model.json and the model card."""
    if precision != "fp32":
        flags = {"--prevalence": prevalence, "--views": views, "--rule": rule, "--costs": costs}
        for flag, given in flags.items():
            if given is not None:
                raise DermaError(
                    f"{flag}: an {precision} bundle keeps that of the run's own; leave it out"
                )
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.training.runs import open_run

    workspace = Workspace.find()
    found, dataset = open_run(workspace.runs, run), read_dataset(workspace.data)
    if precision == "fp32":
        from doctor_derma.export.exporting import export_run

        bundle = export_run(found, dataset, to, prevalence, views, rule, costs_in(costs))
    else:
        from doctor_derma.export.reducing import export_reduced

        bundle = export_reduced(found, dataset, precision, to)
    terminal().print(f"Bundle: {bundle}")


@app.command()
def promote(
    run: Annotated[str | None, typer.Argument(help="A run or bundle, else the champion.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder, else deployment/models/champion.")
    ] = None,
) -> None:
    """Copy the champion's bundle to where the server finds it."""
    from doctor_derma.pipeline import promote

    terminal().print(f"Promoted to {promote(Workspace.find(), run, to)}")


@app.command()
def card(model: Reference) -> None:
    """Write a model's card again, from what was measured of it by now."""
    from doctor_derma.pipeline import write_model_card

    path, evidence = write_model_card(Workspace.find(), model)
    console = terminal(soft_wrap=True)
    for name, reason in evidence.missing.items():
        console.print(f"Not in it: {name}, {reason}")
    console.print(f"Model card: {path}")
