"""How many workers a run began with, and how it goes on with as many."""

import json

from doctor_derma.atomic import replacing_file
from doctor_derma.errors import DermaError
from doctor_derma.training.runs import Run

WORKERS_FILE = "workers.json"


def write_workers(run: Run, workers: int) -> None:
    """Remember with how many workers a run is trained."""
    with replacing_file(run.folder / WORKERS_FILE) as scratch:
        scratch.write_text(json.dumps({"workers": workers}) + "\n")


def read_workers(run: Run) -> int:
    """Return the number of workers a run began with, 1 where it began without Ray.

    Raises
    ------
    DermaError
        When the file is damaged.
    """
    path = run.folder / WORKERS_FILE
    if not path.is_file():
        return 1
    try:
        return int(json.loads(path.read_text())["workers"])
    except (ValueError, TypeError, KeyError) as error:
        raise DermaError(f'{path}: damaged; write {{"workers": N}} into it') from error


def how_to_go_on(run: Run, workers: int) -> str:
    """Return the advice that ends a message about a run that stopped."""
    return f"go on with: derma train --resume {run.name} --engine ray --workers {workers}"
