"""``derma promote``."""

from pathlib import Path
from typing import Annotated

import typer

from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace


def promote(
    run: Annotated[str | None, typer.Argument(help="A run or bundle, else the champion.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder, else deployment/models/champion.")
    ] = None,
) -> None:
    """Copy the champion's bundle to where the server finds it."""
    from doctor_derma.commands.publishing import promote

    terminal().print(f"Promoted to {promote(Workspace.find(), run, to)}")
