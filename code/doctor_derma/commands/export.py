"""``derma export``, ``derma promote`` and ``derma card``: a bundle, its place and its card."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from doctor_derma.commands.options import CostsFile, Reference, RuleChoice, costs_in
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.training.config import warn_of_older_names
from doctor_derma.workspace import Workspace


def export(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    to: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
    prior_weight: Annotated[
        float | None, typer.Option(min=0, max=1, help="Another weight of the class priors.")
    ] = None,
    tta: Annotated[
        int | None, typer.Option(help="Test-time augmentation: 1, 2, 4 or 8 views to average.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Of the weights; a quantized bundle is written beside the fp32 one."),
    ] = "fp32",
    rule: RuleChoice = None,
    costs: CostsFile = None,
    sets: Annotated[
        Literal["marginal", "class-conditional"] | None,
        typer.Option(help="Prediction sets hold the true class in 95% of all, or of each class."),
    ] = None,
    twin: Annotated[
        str | None,
        typer.Option(help="Run without a fold, or name of all folds, to fit thresholds to."),
    ] = None,
    prevalence: Annotated[float | None, typer.Option(min=0, max=1, hidden=True)] = None,
    views: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Write a run's bundle again: the graph, model.json and the model card."""
    given = {"prior_weight": prior_weight, "tta": tta, "prevalence": prevalence, "views": views}
    warn_of_older_names(name for name, value in given.items() if value is not None)
    prior_weight = prevalence if prior_weight is None else prior_weight
    tta = views if tta is None else tta
    if precision != "fp32":
        flags = {"--prior-weight": prior_weight, "--tta": tta, "--rule": rule, "--costs": costs}
        for flag, value in (flags | {"--sets": sets}).items():
            if value is not None:
                raise DermaError(
                    f"{flag}: an {precision} bundle keeps that of the run's own; leave it out"
                )
    from doctor_derma.commands.publishing import export
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.training.runs import open_run

    workspace = Workspace.find()
    found, dataset = open_run(workspace.runs, run), read_dataset(workspace.data)
    twinned = replace(found, info=replace(found.info, twin=twin)) if twin else found
    settings = (prior_weight, tta, rule, costs_in(costs), sets or "marginal")
    bundle = export(twinned, dataset, to, precision, *settings)
    if twin:  # Only now: a mistyped one would be asked for ever after.
        found.with_twin(twin)
    terminal().print(f"Bundle: {bundle}")


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


def card(model: Reference) -> None:
    """Write a model's card again, from what was measured of it by now."""
    from doctor_derma.commands.publishing import write_model_card

    path, evidence = write_model_card(Workspace.find(), model)
    console = terminal(soft_wrap=True)
    for name, reason in evidence.missing.items():
        console.print(f"Not in it: {name}, {reason}")
    console.print(f"Model card: {path}")
