"""``derma tune``."""

from pathlib import Path
from typing import Annotated

import typer

from doctor_derma.commands.options import Address
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace


def tune(
    config: Annotated[
        Path | None, typer.Option(help="YAML file with the settings to search, and how.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep.")] = None,
    resume: Annotated[str | None, typer.Option(help="Sweep to go on with.")] = None,
    address: Address = None,
) -> None:
    """Search the settings of a recipe with Ray Tune; every trial is tracked in MLflow."""
    if (config is None) == (resume is None):
        raise DermaError("derma tune: give --config for a new sweep, or --resume for a begun one")
    if resume and name:
        raise DermaError("--resume: the sweep has its name; leave --name out")
    from doctor_derma.distributed.tune import run as sweeping
    from doctor_derma.distributed.tune.sweep import read_sweep

    workspace = Workspace.find()
    if resume:
        tuned = sweeping.resume(workspace, resume, address)
    else:
        assert config is not None
        tuned = sweeping.tune(workspace, read_sweep(config), name, address)
    terminal().print(tuned.table)
    terminal(soft_wrap=True).print(
        f"Best: {tuned.best_config}\nNext: derma train --config {tuned.best_config}"
    )
