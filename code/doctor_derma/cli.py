"""The command line, ``derma``: arguments in, a room's function called, a table out."""

import errno
import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from doctor_derma import __version__
from doctor_derma.data.commands import app as data_commands
from doctor_derma.errors import DermaError
from doctor_derma.training.config import TrainConfig, load_config
from doctor_derma.workspace import ROOT_VARIABLE, Workspace

app = typer.Typer(
    help="Skin-lesion classifiers from dermatoscopic images. Not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_commands, name="data")

Reference = Annotated[str, typer.Argument(help="A run's name, a bundle's folder, or 'champion'.")]
Split = Annotated[str, typer.Option(help="Which split to evaluate on: test, val or train.")]
Gallery = Annotated[bool, typer.Option(help="Show pictures of the data set in the report.")]
# Typer gives no other name to the mistakes that it finds in a command line.
_UsageError: Any = typer.BadParameter.__base__
_DISK_ERRNOS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM),
}


def main() -> None:
    """Run the command line; a mistake is one line on standard error and exit code 2."""
    try:
        if code := app(prog_name="derma", standalone_mode=False):
            sys.exit(code)
    except _UsageError as error:
        message = " ".join(error.format_message().split()).rstrip(".")
        if not message:  # No command was given, and the help is printed.
            sys.exit(2)
        _stop(f"{message}; see '{error.ctx.command_path if error.ctx else 'derma'} --help'")
    except DermaError as error:
        _stop(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("doctor_derma"):
            raise
        _stop(f"{error.name} is not installed; install it with: pip install 'doctor-derma[train]'")
    except OSError as error:
        if error.errno not in _DISK_ERRNOS:
            raise
        _stop(f"{error.filename or 'disk'}: {error.strerror}; free space or check who may write")


def _stop(message: str) -> None:
    Console(stderr=True, soft_wrap=True).print(f"derma: {message}", highlight=False, markup=False)
    sys.exit(2)


@app.callback(invoke_without_command=True)
def _root(
    root: Annotated[
        Path | None, typer.Option(help=f"Folder of data/, mlflow/ and so on (${ROOT_VARIABLE}).")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if root:
        os.environ[ROOT_VARIABLE] = str(root)
    if version:
        print(__version__)
        raise typer.Exit


def _recipe_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for every setting of a recipe."""
    signature = inspect.signature(command)
    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                bool | None if field.annotation is bool else str | None,
                typer.Option(
                    help=f"{field.description} (default: {field.default})",
                    metavar=None if field.annotation is bool else "VALUE",
                    rich_help_panel="Recipe",
                ),
            ],
        )
        for name, field in TrainConfig.model_fields.items()
    ]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        names = TrainConfig.model_fields
        given = {key: arguments.pop(key) for key in names if key in arguments}
        command(**arguments, flags={k: v for k, v in given.items() if v is not None})

    kept = [p for p in signature.parameters.values() if p.name != "flags"]
    wrapped.__signature__ = signature.replace(parameters=[*kept, *flags])  # type: ignore[attr-defined]
    return wrapped


@app.command()
@_recipe_flags
def train(
    *,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    resume: Annotated[str | None, typer.Option(help="Run to go on with.")] = None,
    flags: dict[str, Any],
) -> None:
    """Train a network, export it, and track both in MLflow."""
    if resume and (config or flags or name):
        raise DermaError("--resume: goes on with the run's own settings; leave the others out")
    settings = None if resume else load_config(config, flags)
    from doctor_derma.pipeline import resume_run, start_run

    workspace = Workspace.find()
    run = resume_run(workspace, resume) if resume else start_run(workspace, settings, name)  # type: ignore[arg-type]
    if run:
        Console().print(f"Bundle: {run.bundle}\nNext: derma evaluate {run.name}", highlight=False)


@app.command()
def evaluate(run: Reference, split: Split = "test", gallery: Gallery = True) -> None:
    """Measure a model with 95% intervals; pictures and report in evaluation_images/."""
    from doctor_derma.evaluation.tables import evaluation_tables
    from doctor_derma.pipeline import evaluate

    predictions, intervals, folder = evaluate(Workspace.find(), run, split, gallery)
    Console().print(*evaluation_tables(predictions, intervals), f"Report: {folder / 'report.html'}")


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
    Console().print(*comparison_tables(comparison), f"Report: {folder / 'report.html'}")


def _compare_over_seeds(runs: list[str], split: str) -> None:
    from doctor_derma.evaluation.replicates_tables import seed_comparison_tables
    from doctor_derma.pipeline import compare_over_seeds

    comparison, costs, folder = compare_over_seeds(Workspace.find(), runs, split)
    tables = seed_comparison_tables(comparison, costs)
    Console().print(*tables, f"Report: {folder / 'report.html'}")


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
        Console().print(*found.tables, f"Files: {folder}\n")


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    to: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
    prevalence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Another weight of the classes' shares.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Bits of the network; fewer are a second bundle, beside the first."),
    ] = "fp32",
) -> None:
    """Write a run's bundle again: the graph, model.json and the model card."""
    if precision != "fp32" and prevalence is not None:
        raise DermaError(
            f"--prevalence: an {precision} bundle keeps that of the run's own; leave it out"
        )
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.training.runs import open_run

    workspace = Workspace.find()
    found, dataset = open_run(workspace.runs, run), read_dataset(workspace.data)
    if precision == "fp32":
        from doctor_derma.export.exporting import export_run

        bundle = export_run(found, dataset, to, prevalence)
    else:
        from doctor_derma.export.reducing import export_reduced

        bundle = export_reduced(found, dataset, precision, to)
    Console().print(f"Bundle: {bundle}", highlight=False)


@app.command()
def promote(
    run: Annotated[str | None, typer.Argument(help="A run or bundle, else the champion.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder, else deployment/models/champion.")
    ] = None,
) -> None:
    """Copy the champion's bundle to where the server finds it."""
    from doctor_derma.pipeline import promote

    Console().print(f"Promoted to {promote(Workspace.find(), run, to)}", highlight=False)


@app.command()
def card(model: Reference) -> None:
    """Write a model's card again, from what was measured of it by now."""
    from doctor_derma.pipeline import write_model_card

    path, evidence = write_model_card(Workspace.find(), model)
    console = Console(soft_wrap=True)
    for name, reason in evidence.missing.items():
        console.print(f"Not in it: {name}, {reason}", highlight=False)
    console.print(f"Model card: {path}", highlight=False)


@app.command()
def predict(
    paths: Annotated[list[str], typer.Argument(help="Files, folders or patterns.")],
    model: Annotated[Path | None, typer.Option(help="Bundle, else the champion.")] = None,
    format: Annotated[Literal["table", "json", "csv"], typer.Option(help="Output.")] = "table",
    output: Annotated[Path | None, typer.Option(help="File, else the screen.")] = None,
    url: Annotated[
        str | None, typer.Option(help="Address of a server that has the model instead.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="DERMA_API_KEY", help="Key that the server asks for.")
    ] = None,
) -> None:
    """Classify pictures. Exits with 1 when some couldn't be read. Not a diagnosis."""
    if url and model:
        raise DermaError("--url: the server has its own model; leave --model out")
    if url:
        from doctor_derma.client.predict import run_remote_predict

        failed = run_remote_predict(paths, url, api_key, format, output)
    else:
        from doctor_derma.serving.predict import run_predict

        failed = run_predict(paths, model or Workspace.find().champion, format, output)
    if failed:
        raise typer.Exit(1)


@app.command()
def serve(
    model: Annotated[Path | None, typer.Option(help="Bundle, else the champion.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", help="Port.")] = 5555,
    workers: Annotated[
        int, typer.Option(envvar="DERMA_WORKERS", min=1, help="Processes that share the port.")
    ] = 1,
) -> None:
    """Serve the upload page and the API."""
    from doctor_derma.serving.server import serve
    from doctor_derma.serving.settings import Settings

    settings = Settings.from_environment().model_copy(update={"workers": workers})
    serve(model or Workspace.find().champion, host, port, settings)
