"""What each script here is as a command: arguments in, a table out, one sentence for a mistake."""

import sys
from collections.abc import Callable, Iterable, Sequence

import typer
from rich.console import JustifyMethod
from rich.table import Table

from doctor_derma.errors import DermaError
from doctor_derma.terminal import cells, terminal


def run(*functions: Callable[..., None]) -> None:
    """Run the only function, or the one that the first argument names.

    Its parameters are the arguments. Help on a single one is the first line of its module.
    """
    title = functions[0].__globals__["__doc__"].splitlines()[0]
    settings = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(
        help=title, context_settings=settings, add_completion=False, pretty_exceptions_enable=False
    )
    for function in functions:
        own_help = title if len(functions) == 1 else None
        app.command(help=own_help, context_settings=settings)(function)
    try:
        app()
    except DermaError as error:
        sys.exit(str(error))


def show(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    justify: JustifyMethod = "right",
) -> None:
    """Print a table; only the first column is always to the left, and never shortened."""
    table = Table(title=title)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify=justify if index else "left", no_wrap=not index)
    for row in rows:
        table.add_row(*cells(*row))
    # Where there is no terminal, rich takes 80 columns.
    terminal(width=None if sys.stdout.isatty() else 120).print(table)
