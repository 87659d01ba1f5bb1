"""The application, and how it ends: with a code, and a mistake in one line."""

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from doctor_derma._version import __version__
from doctor_derma.commands import data
from doctor_derma.commands.audit import audit
from doctor_derma.commands.compare import compare
from doctor_derma.commands.decide import decide
from doctor_derma.commands.evaluate import evaluate
from doctor_derma.commands.export import card, export, promote
from doctor_derma.commands.predict import predict
from doctor_derma.commands.push import push
from doctor_derma.commands.serve import serve
from doctor_derma.commands.train import train
from doctor_derma.commands.tune import tune
from doctor_derma.commands.web import web
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.workspace import ROOT_VARIABLE

app = typer.Typer(
    help="Skin-lesion classifiers from dermatoscopic images. Not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
# In the order of the help. They import the packages that they need when they are called, so that
# the help loads none of them.
for _command in (
    *(train, tune, evaluate, compare, audit, decide),
    *(export, promote, card, push, predict, serve, web),
):
    app.command()(_command)

# Typer gives no other name to the mistakes that it finds in a command line.
_UsageError: Any = typer.BadParameter.__base__
_DISK_ERRNOS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM),
}
# The extra that brings a package which is not in all of them.
_EXTRAS = {"ray": "scale", "pyarrow": "scale", "fsspec": "scale", "optuna": "scale"}


def main() -> None:
    """Run the command line; a mistake is one line on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # A name that can't be printed there, such as one that is no UTF-8, ends nothing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
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
        extra = _EXTRAS.get((error.name or "").partition(".")[0], "train")
        install = f"pip install 'doctor-derma[{extra}]'"
        _stop(f"{error.name} is not installed; install it with: {install}")
    except RuntimeError as error:
        # Of pathlib, where nothing says whose ~ is: MLflow asks when it is imported.
        if "home directory" not in str(error):
            raise
        _stop("no home directory is known; set HOME to a folder of yours, and write no ~ in paths")
    except OSError as error:
        if error.errno not in _DISK_ERRNOS:
            raise
        _stop(f"{error.filename or 'disk'}: {error.strerror}; free space or check who may write")


def _stop(message: str) -> None:
    terminal(error=True, soft_wrap=True).print(f"derma: {message}")
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
