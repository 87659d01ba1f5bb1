"""``derma train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from doctor_derma.commands.options import Address, Engine, check_engine, recipe_flags
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.training.config import load_config
from doctor_derma.workspace import Workspace

if TYPE_CHECKING:
    from doctor_derma.commands.leaving_out import LeftOut
    from doctor_derma.commands.runs import Fit


@recipe_flags
def train(
    *,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    resume: Annotated[str | None, typer.Option(help="Run to go on with.")] = None,
    engine: Engine = "local",
    workers: Annotated[
        int | None, typer.Option(help="Processes of --engine ray, on any machines.")
    ] = None,
    address: Address = None,
    flags: dict[str, Any],
) -> None:
    """Train a network, export it, and track both in MLflow.

    With --folds or --leave-source-out all, one network after the other, each without a part of the
    images that it then predicts; finished ones are not trained again.
    """
    if resume and (config or flags or name):
        raise DermaError("--resume: goes on with the run's own settings; leave the others out")
    settings = None if resume else load_config(config, flags)
    from doctor_derma.commands.leaving_out import train_leaving_out
    from doctor_derma.commands.runs import resume_run, start_run

    fit = _fit(engine, workers, address)
    workspace = Workspace.find()
    if resume:
        run = resume_run(workspace, resume, fit)
    else:
        assert settings is not None
        if settings.judges_a_part:
            if found := train_leaving_out(workspace, settings, name, fit):
                _print_left_out(found)
            return
        run = start_run(workspace, settings, name, fit)
    if run and run.config.refit and run.info.twin is None:
        terminal(soft_wrap=True).print(
            f"Run: {run.folder}\nNext: derma export {run.name} --twin NAME, where NAME is a run of "
            "the same recipe with --folds and --fold, or all of its folds"
        )
    elif run:
        terminal().print(f"Bundle: {run.bundle}\nNext: derma evaluate {run.name}")


def _print_left_out(found: "LeftOut") -> None:
    console = terminal(soft_wrap=True)
    if found.table:
        console.print(found.table)
        console.print(f"Predictions: {found.file}")
    if found.unfinished:
        unfinished = ", ".join(found.unfinished)
        console.print(f"Not finished: {unfinished}; the same command goes on with them")


def _fit(engine: Engine, workers: int | None, address: str | None) -> "Fit":
    check_engine(engine, {"--workers": workers, "--address": address})
    if engine == "local":
        from doctor_derma.training.loop import train as train_here

        return train_here
    from doctor_derma.distributed.train.run import train_on_ray

    wanted = 1 if workers is None else workers
    return lambda run, data, on_epoch: train_on_ray(run, data, wanted, on_epoch, address)
