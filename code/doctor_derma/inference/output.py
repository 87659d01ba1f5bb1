"""Rows of predictions as CSV, JSON, a submission to a challenge or a table for people."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, Literal, TextIO, TypeVar

from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table
from rich.text import Text

from doctor_derma.atomic import replacing_file
from doctor_derma.bundle import DiagnosisName
from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE, Row
from doctor_derma.terminal import cells, terminal

# The last is of ranked pictures alone, see ``rank.py``.
Format = Literal["table", "json", "csv", "isic", "label-studio"]
Classes = Sequence[DiagnosisName]
Tracked = TypeVar("Tracked")
Writer = Callable[[Iterable[Row], Classes, TextIO], None]
# The columns of the lesion diagnosis challenges of 2018 (task 3) and 2019, and classes that have
# another name in one of them.
ISIC_COLUMNS = (
    ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
    ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"),
)
ISIC_NAMES = {"akiec": "AK"}


def columns(classes: Classes) -> list[str]:
    """Return the columns of the CSV: ``path``, ``label``, ``rule``, one a class, ``error``."""
    return ["path", "label", "rule", *(diagnosis.name for diagnosis in classes), "error"]


def write_csv(rows: Iterable[Row], classes: Classes, stream: TextIO) -> None:
    """Write one line a row, as it comes."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns(classes))
    for row in rows:
        numbers = [digits(row.probabilities.get(diagnosis.name)) for diagnosis in classes]
        writer.writerow([row.path, row.label or "", row.rule or "", *numbers, row.error or ""])


def write_json(rows: Iterable[Row], classes: Classes, stream: TextIO) -> None:
    """Write a list of objects, as they come, with all but the map of each prediction."""
    stream.write("[")
    for index, row in enumerate(rows):
        stream.write((",\n " if index else "\n ") + json.dumps(_record(row)))
    stream.write("\n]\n")


def write_isic(rows: Iterable[Row], classes: Classes, stream: TextIO) -> None:
    """Write a submission to the ISIC challenge of lesion diagnosis that has the model's classes.

    A line an image: its name without suffix, and the probabilities in the challenge's order (2018,
    task 3: https://challenge.isic-archive.com/landing/2018/47/; 2019 has SCC and UNK as well, and
    UNK is 0 where the model has no such class). Pictures that can't be read have no line, and are
    named on standard error.

    Raises as ``isic_columns``.
    """
    columns = isic_columns(classes)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["image", *columns])
    for row in rows:
        if row.error:
            terminal(error=True, soft_wrap=True).print(f"{row.path}: {row.error}", style="red")
            continue
        numbers = [row.probabilities[name] if name else 0.0 for name in columns.values()]
        # Always with a point, as the challenge's scoring refuses a column of whole numbers.
        writer.writerow([PurePath(row.path).stem, *(f"{number:#.7g}" for number in numbers)])


def isic_columns(classes: Classes) -> dict[str, str | None]:
    """Return the columns of the challenge, each with the class that it is of, None for no class.

    Raises a DermaError when the classes are not those of a challenge.
    """
    named = {ISIC_NAMES.get(one.name.lower(), one.name.upper()): one.name for one in classes}
    for columns in ISIC_COLUMNS:
        shared = {ISIC_NAMES.get(column.lower(), column): column for column in columns}
        if set(named) in (set(shared), set(shared) - {"UNK"}):
            return {column: named.get(name) for name, column in shared.items()}
    raise DermaError(
        f"format: 'isic' is of the ISIC challenges' classes ({', '.join(ISIC_COLUMNS[-1])}), which "
        f"are not those of this model ({', '.join(one.name for one in classes)}); use csv"
    )


def write_table(rows: Iterable[Row], classes: Classes, stream: TextIO) -> None:
    """Write a table of each row's label and the most probable other class, when all have come."""
    full_names = {diagnosis.name: diagnosis.full_name for diagnosis in classes}
    table = Table(caption=Text(NOTICE), caption_style="bold")
    table.add_column("picture", overflow="fold")
    table.add_column("label", no_wrap=True)
    table.add_column("name")
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("next", no_wrap=True)
    table.add_column("notes")
    for row in rows:
        # A file name that is not UTF-8 can't be printed as it is.
        path = Text(os.fsencode(row.path).decode(errors="replace"))
        prediction = row.prediction
        if prediction is None:
            table.add_row(path, "", Text(row.error or "", style="red"), "", "", "")
            continue
        table.caption = Text(f"Labels by the rule '{prediction.rule}'. {NOTICE}")
        others = dict(prediction.probabilities)
        label, first = prediction.label, others.pop(prediction.label)
        other, second = max(others.items(), key=lambda item: item[1])
        notes = ", ".join(filter(None, (prediction.abstention, *prediction.warnings)))
        shown = (f"{first:.1%}", f"{other} {second:.1%}", Text(notes, style="yellow"))
        table.add_row(*cells(path, label, full_names[label], *shown))
    terminal(file=stream).print(table)


WRITERS: dict[str, Writer] = {
    "table": write_table,
    "json": write_json,
    "csv": write_csv,
    "isic": write_isic,
}


def check_output(format: Format, output: Path | None) -> None:
    """Refuse an unknown format, and a folder as the output, with a DermaError before any work."""
    if format not in WRITERS:
        raise DermaError(f"format: '{format}' is unknown; use {', '.join(WRITERS)}")
    check_file(output)


def check_file(output: Path | None) -> None:
    """Refuse a folder as the file of predictions, with a DermaError."""
    if output is not None and output.is_dir():
        raise DermaError(f"{output}: a folder; name a file for the predictions")


def report_rows(
    rows: Iterable[Row], total: int, classes: Classes, format: Format, output: Path | None
) -> int:
    """Write rows as they come, of which there will be ``total``; return how many have an error.

    ``format`` is one of ``WRITERS``, the classes are in the model's order, and ``output`` None is
    standard output. Raises as ``writing``.
    """
    # Rows that stream to the same screen as the bar show the progress themselves.
    quiet = output is None and format != "table" and sys.stdout.isatty()
    failed = 0

    def counted() -> Iterator[Row]:
        nonlocal failed
        for row in tracked(rows, total, quiet):
            failed += row.error is not None
            yield row

    with writing(output) as stream:
        WRITERS[format](counted(), classes, stream)
    if format != "table":
        terminal(error=True).print(NOTICE, style="bold")
    return failed


@contextmanager
def writing(output: Path | None) -> Iterator[TextIO]:
    """Give a stream to a file that appears when it is whole, or standard output when None.

    Raises a DermaError when it can't be written.
    """
    try:
        # File names that are not UTF-8 pass through as the bytes that they are.
        if output is None:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="surrogateescape")
            yield sys.stdout
            sys.stdout.flush()
            return
        with (
            replacing_file(output) as scratch,
            scratch.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
        ):
            yield stream
    except BrokenPipeError:  # Whoever reads standard output, such as head, has seen enough.
        raise
    except OSError as error:
        raise DermaError(
            f"{output or 'standard output'}: can't be written ({error.strerror or error}); "
            "free some space or choose another place"
        ) from error


def say_others(others: Mapping[str, int]) -> None:
    """Count on standard error the files of the folders that are no pictures, by suffix."""
    if others:
        listed = ", ".join(f"{count:,} {suffix}" for suffix, count in others.items())
        terminal(error=True, soft_wrap=True).print(f"Left out as no pictures: {listed}")


def tracked(rows: Iterable[Tracked], total: int, quiet: bool = False) -> Iterator[Tracked]:
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


def _record(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {"path": row.path, "label": row.label, "rule": row.rule}
    if (prediction := row.prediction) is None:
        return record | {"probabilities": None, "error": row.error}
    return record | {
        "probabilities": {
            name: float(digits(value)) for name, value in prediction.probabilities.items()
        },
        "prediction_set": prediction.prediction_set,
        "abstention": prediction.abstention,
        "unfamiliarity": float(digits(prediction.unfamiliarity)),
        "warnings": prediction.warnings,
        "error": None,
    }


def digits(probability: float | None) -> str:
    """Return a probability as it is written; None as nothing."""
    # Seven significant digits are all that a float32 holds.
    return "" if probability is None else f"{probability:.7g}"
