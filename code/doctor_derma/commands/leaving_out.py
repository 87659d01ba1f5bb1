"""``derma train --folds`` and ``--leave-source-out``: runs that each leave a part out."""

import os
from dataclasses import dataclass
from pathlib import Path

from doctor_derma.bundle import INFO_FILE as BUNDLE_FILE
from doctor_derma.commands.runs import Fit, resume_run, start_run
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.tables import Table
from doctor_derma.export.out_of_fold import PLACES, out_of_fold_file, pool, summary_table
from doctor_derma.terminal import terminal
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.folds import parts_of, recipes_in_turn
from doctor_derma.training.loop import check_data, train
from doctor_derma.training.runs import (
    INFO_FILE,
    RUN_VARIABLE,
    Run,
    RunIsBusy,
    is_first_process,
    open_run,
)
from doctor_derma.workspace import Workspace


@dataclass(frozen=True)
class LeftOut:
    """What the runs of a recipe with folds or sources have come to.

    Attributes
    ----------
    file : predictions of all images by the finished runs; None where folds are missing
    table : how good they are; None where folds are missing
    unfinished : names of the runs that have not come to their end
    """

    file: Path | None
    table: Table | None
    unfinished: list[str]


def train_leaving_out(
    workspace: Workspace, config: TrainConfig, name: str | None, fit: Fit = train
) -> LeftOut | None:
    """Train a run for each fold or source, or the one that is named, and pool what they predict.

    Finished runs are left alone, begun ones go on, and those that another process trains are left
    to it; so the same call goes on where it was stopped, and several of them share the work.

    ``name`` is what the names of the runs begin with, by default the model's. Returns None in all
    but the first of several processes of a run. Raises a DermaError when a run of the name has
    other settings or other data, or as ``start_run``.
    """
    name = name or config.model.replace("/", "-")
    dataset = read_dataset(workspace.data)
    recipes = {
        f"{name}-{ending}": recipe for ending, recipe in recipes_in_turn(dataset, config).items()
    }
    if config.runs_in_turn:
        wanted = {run: _on_one_device(recipe) for run, recipe in recipes.items()}
    else:
        parts_of(dataset, config)  # A source that isn't there is refused.
        wanted = {run: recipe for run, recipe in recipes.items() if recipe == config}
    if not is_first_process():
        start_run(workspace, config, next(iter(wanted)), fit)
        return None
    for run, recipe in wanted.items():
        _train_one(workspace, recipe, run, dataset, fit)
    return _pooled(workspace, config, name, list(recipes), dataset)


def _on_one_device(recipe: TrainConfig) -> TrainConfig:
    """Lightning starts the processes of several devices once, and so for one run only."""
    if recipe.nodes > 1 or recipe.devices not in ("auto", 1):
        raise DermaError(
            "--devices, --nodes: runs in turn take one device each; leave them out, or train each "
            "run by itself, with --fold or by its source"
        )
    return recipe.model_copy(update={"devices": 1})


def _train_one(
    workspace: Workspace, recipe: TrainConfig, name: str, dataset: Dataset, fit: Fit
) -> None:
    console = terminal(error=True, soft_wrap=True)
    try:
        if not (workspace.runs / name / INFO_FILE).is_file():
            console.print(name, style="bold")
            start_run(workspace, recipe, name, fit)
            return
        run = open_run(workspace.runs, name)
        _check_settings(run, recipe)
        check_data(run, dataset)
        if not _is_finished(run):
            console.print(f"{name} goes on", style="bold")
            os.environ[RUN_VARIABLE] = name
            resume_run(workspace, name, fit)
    except RunIsBusy:
        console.print(f"{name} is left to the process that trains it")


def _check_settings(run: Run, recipe: TrainConfig) -> None:
    begun, wanted = (config.model_dump(exclude=PLACES) for config in (run.config, recipe))
    if others := [key for key, value in wanted.items() if begun[key] != value]:
        raise DermaError(
            f"{run.folder}: began with another {others[0]}, {begun[others[0]]} and not "
            f"{wanted[others[0]]}; choose another --name, or leave the settings as they were"
        )


def _is_finished(run: Run) -> bool:
    files = (run.bundle / BUNDLE_FILE, out_of_fold_file(run.folder, run.config))
    return all(file.is_file() for file in files)


def _pooled(
    workspace: Workspace, config: TrainConfig, name: str, names: list[str], dataset: Dataset
) -> LeftOut:
    there = [run for run in names if (workspace.runs / run / INFO_FILE).is_file()]
    runs = [run for run in (open_run(workspace.runs, run) for run in there) if _is_finished(run)]
    unfinished = [run for run in names if run not in {finished.name for finished in runs}]
    if not runs or (config.folds and unfinished):
        return LeftOut(None, None, unfinished)
    folder = workspace.runs / name
    paths = [out_of_fold_file(run.folder, run.config) for run in runs]
    table = pool(paths, dataset, config, folder)
    return LeftOut(out_of_fold_file(folder, config), summary_table(table, name), unfinished)
