"""``derma promote``."""

from pathlib import Path
from typing import Annotated

import typer

from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace


def promote(
    run: Annotated[str | None, typer.Argument(help="A run or bundle; default: champion.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder; default: deployment/models/champion.")
    ] = None,
) -> None:
    """Copy the champion's bundle to where the server finds it."""
    from doctor_derma.commands.models import dataset_if_any, find_bundle
    from doctor_derma.commands.publishing import promote_bundle
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.tracking.registry import fetch_champion

    workspace = Workspace.find()
    if run is None:
        bundle = fetch_champion(workspace, read_dataset(workspace.data).info.name)
    else:
        bundle = find_bundle(workspace, run)
    destination = promote_bundle(
        bundle, to or workspace.champion, workspace.evaluation_images, dataset_if_any(workspace)
    )
    terminal().print(f"Promoted to {destination}")
