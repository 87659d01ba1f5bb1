"""Rows of predictions to a file or the screen, with progress, wherever they come from."""

import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from rich.progress import MofNCompleteColumn, Progress

from doctor_derma.atomic import replacing_file
from doctor_derma.bundle import DiagnosisName
from doctor_derma.errors import DermaError
from doctor_derma.inference.notice import NOTICE
from doctor_derma.inference.row import Row
from doctor_derma.inference.writing import WRITERS
from doctor_derma.terminal import terminal

Format = Literal["table", "json", "csv"]


def check_output(format: Format, output: Path | None) -> None:
    """Look for mistakes before any work is done.

    Raises
    ------
    DermaError
        When the format is unknown or the output is a folder.
    """
    if format not in WRITERS:
        raise DermaError(f"format: '{format}' is unknown; use {', '.join(WRITERS)}")
    if output is not None and output.is_dir():
        raise DermaError(f"{output}: a folder; name a file for the predictions")


def report_rows(
    rows: Iterable[Row],
    total: int,
    classes: Sequence[DiagnosisName],
    format: Format,
    output: Path | None,
) -> int:
    """Write rows as they come.

    Parameters
    ----------
    total : number of rows that will come
    classes : in the model's order
    format : ``table``, ``json`` or ``csv``
    output : file that appears when it is whole; standard output when None

    Returns
    -------
    number of rows with an error

    Raises
    ------
    DermaError
        When the output can't be written.
    """
    # Rows that stream to the same screen as the bar show the progress themselves.
    quiet = output is None and format != "table" and sys.stdout.isatty()
    failed = 0

    def counted() -> Iterator[Row]:
        nonlocal failed
        for row in _tracked(rows, total, quiet):
            failed += row.error is not None
            yield row

    try:
        with _opened(output) as stream:
            WRITERS[format](counted(), classes, stream)
            stream.flush()
    except BrokenPipeError:  # Whoever reads standard output, such as head, has seen enough.
        raise
    except OSError as error:
        raise DermaError(
            f"{output or 'standard output'}: can't be written ({error.strerror or error}); "
            "free some space or choose another place"
        ) from error
    if format != "table":
        terminal(error=True).print(NOTICE, style="bold")
    return failed


def say_others(others: Mapping[str, int]) -> None:
    """Count on standard error the files of the folders that are no pictures, by suffix."""
    if others:
        listed = ", ".join(f"{count:,} {suffix}" for suffix, count in others.items())
        terminal(error=True, soft_wrap=True).print(f"Left out as no pictures: {listed}")


def _tracked(rows: Iterable[Row], total: int, quiet: bool) -> Iterator[Row]:
    """Draw a progress bar on standard error for as long as rows are taken."""
    console = terminal(error=True)
    progress = Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
        # The rows go to standard output, which rich would otherwise send to its console.
        redirect_stdout=False,
    )
    with progress:
        yield from progress.track(rows, total=total, description="Predicting")


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    # File names that are not UTF-8 pass through as the bytes that they are.
    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")
        yield sys.stdout
        return
    with (
        replacing_file(output) as scratch,
        scratch.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream
