"""What ``derma predict`` does."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from doctor_derma.atomic import replacing_file
from doctor_derma.errors import DermaError
from doctor_derma.serving.classifier import Classifier
from doctor_derma.serving.notice import NOTICE
from doctor_derma.serving.rows import Row, predict_rows
from doctor_derma.serving.sources import find_images
from doctor_derma.serving.writing import WRITERS

__all__ = ["Format", "Row", "find_images", "predict_rows", "run_predict"]

Format = Literal["table", "json", "csv"]


def run_predict(
    sources: Sequence[str],
    bundle: str | Path,
    format: Format = "table",
    output: Path | None = None,
    batch_size: int = 32,
) -> int:
    """Classify pictures and write the rows to a file or to standard output.

    Parameters
    ----------
    sources : files, folders and patterns, see ``find_images``
    bundle : folder with the model
    format : ``table``, ``json`` or ``csv``
    output : file that appears when it is whole; standard output when None
    batch_size : pictures in memory and in the network at a time

    Returns
    -------
    number of pictures that couldn't be read; each has a row with its error

    Raises
    ------
    DermaError
        When there is no model or no picture, or the output can't be written.
    """
    if format not in WRITERS:
        raise DermaError(f"format: '{format}' is unknown; use {', '.join(WRITERS)}")
    if output is not None and output.is_dir():
        raise DermaError(f"{output}: a folder; name a file for the predictions")
    paths = find_images(sources)
    classifier = Classifier.load(bundle)
    # Rows that stream to the same screen as the bar show the progress themselves.
    quiet = output is None and format != "table" and sys.stdout.isatty()
    failed = 0

    def rows() -> Iterator[Row]:
        nonlocal failed
        for row in _tracked(predict_rows(classifier, paths, batch_size), len(paths), quiet):
            failed += row.error is not None
            yield row

    try:
        with _opened(output) as stream:
            WRITERS[format](rows(), classifier.info, stream)
            stream.flush()
    except BrokenPipeError:  # Whoever reads standard output, such as head, has seen enough.
        raise
    except OSError as error:
        raise DermaError(
            f"{output or 'standard output'}: can't be written ({error.strerror or error}); "
            "free some space or choose another place"
        ) from error
    if format != "table":
        Console(stderr=True).print(NOTICE, style="bold")
    return failed


def _tracked(rows: Iterator[Row], total: int, quiet: bool) -> Iterator[Row]:
    """Draw a progress bar on standard error for as long as rows are taken."""
    console = Console(stderr=True)
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
