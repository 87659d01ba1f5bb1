"""``derma export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from doctor_derma.commands.options import CostsFile, RuleChoice, costs_in
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace


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
    from doctor_derma.commands.publishing import export
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.training.runs import open_run

    workspace = Workspace.find()
    found, dataset = open_run(workspace.runs, run), read_dataset(workspace.data)
    bundle = export(found, dataset, to, precision, prevalence, views, rule, costs_in(costs))
    terminal().print(f"Bundle: {bundle}")
