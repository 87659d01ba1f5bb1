"""Rows of predictions as CSV, as JSON, or as a table for people."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from doctor_derma.bundle import DiagnosisName
from doctor_derma.inference.notice import NOTICE
from doctor_derma.inference.prediction import Prediction
from doctor_derma.inference.row import Row
from doctor_derma.terminal import cells, terminal

Classes = Sequence[DiagnosisName]
Writer = Callable[[Iterable[Row], Classes, TextIO], None]


def columns(classes: Classes) -> list[str]:
    """Return the columns of the CSV: ``path``, ``label``, ``rule``, one a class, ``error``."""
    return ["path", "label", "rule", *(diagnosis.name for diagnosis in classes), "error"]


def write_csv(rows: Iterable[Row], classes: Classes, stream: TextIO) -> None:
    """Write one line a row, as it comes."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns(classes))
    for row in rows:
        numbers = [_digits(row.probabilities.get(diagnosis.name)) for diagnosis in classes]
        writer.writerow([row.path, row.label or "", row.rule or "", *numbers, row.error or ""])


def write_json(rows: Iterable[Row], classes: Classes, stream: TextIO) -> None:
    """Write a list of objects, as they come, with all but the map of each prediction."""
    stream.write("[")
    for index, row in enumerate(rows):
        stream.write((",\n " if index else "\n ") + json.dumps(_record(row)))
    stream.write("\n]\n")


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
        name = Text(full_names[label])
        table.add_row(
            *cells(path, label, name, f"{first:.1%}", f"{other} {second:.1%}", _notes(prediction))
        )
    terminal(file=stream).print(table)


WRITERS: dict[str, Writer] = {"table": write_table, "json": write_json, "csv": write_csv}


def _record(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {"path": row.path, "label": row.label, "rule": row.rule}
    if (prediction := row.prediction) is None:
        return record | {"probabilities": None, "error": row.error}
    return record | {
        "probabilities": {
            name: float(_digits(value)) for name, value in prediction.probabilities.items()
        },
        "prediction_set": prediction.prediction_set,
        "abstention": prediction.abstention,
        "unfamiliarity": float(_digits(prediction.unfamiliarity)),
        "warnings": prediction.warnings,
        "error": None,
    }


def _notes(prediction: Prediction) -> Text:
    notes = [prediction.abstention] if prediction.abstention else []
    return Text(", ".join([*notes, *prediction.warnings]), style="yellow")


def _digits(probability: float | None) -> str:
    # Seven significant digits are all that a float32 holds.
    return "" if probability is None else f"{probability:.7g}"
