"""Workers train one run, so all of them must see the same files."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from torch import distributed

from doctor_derma._version import __version__
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.training.runs import Run, open_run

# A network file system may show another machine's file a minute late.
_ROUNDS = 45
_SECONDS_A_ROUND = 2


@dataclass(frozen=True)
class View:
    """What one process sees of a run and its data.

    Attributes
    ----------
    place : the machine's address
    files : what identifies the package, the run and the data; None where they can't be read
    checkpoint : size and time of change of the last checkpoint, None where there is none
    problem : why ``files`` is None
    """

    place: str
    files: tuple[str, ...] | None
    checkpoint: tuple[int, int] | None = None
    problem: str = ""


def identity(run: Run, dataset: Dataset) -> tuple[str, ...]:
    """Return what tells this version of the package, a run and its data from others."""
    return (__version__, run.name, run.info.created, dataset.fingerprint)


def view(run_folder: Path, data: Path) -> View:
    """Look at a run and its data from this process."""
    place = ray.util.get_node_ip_address()
    try:
        run = open_run(run_folder.parent, run_folder.name)
        files = identity(run, read_dataset(data))
        status = run.last_checkpoint.stat() if run.last_checkpoint.is_file() else None
    except (DermaError, OSError) as error:
        return View(place, None, problem=str(error))
    return View(place, files, (status.st_size, status.st_mtime_ns) if status else None)


def await_agreement(run_folder: Path, data: Path, driver: View) -> str | None:
    """Wait until all workers see the run and the data as the driver does.

    To be called by all workers at once, in a process group of theirs.

    Returns
    -------
    who sees something else, in one sentence that is the same in all workers; None when all agree
    """
    for left in reversed(range(_ROUNDS)):
        views: list[View] = [driver] * distributed.get_world_size()
        distributed.all_gather_object(views, view(run_folder, data))
        found = disagreement(views, driver, run_folder, data)
        # Files that are late come; others than the driver's don't become the same.
        if not found or any(seen.files not in (None, driver.files) for seen in views):
            return found
        if left:
            time.sleep(_SECONDS_A_ROUND)
    return found


def disagreement(views: Sequence[View], driver: View, run_folder: Path, data: Path) -> str | None:
    """Say which worker sees other files than the driver, or another last checkpoint than the
    first worker."""
    for seen in views:
        if seen.files == driver.files and seen.checkpoint == views[0].checkpoint:
            continue
        if seen.files and driver.files and seen.files[0] != driver.files[0]:
            return (
                f"worker at {seen.place}: has doctor-derma {seen.files[0]}, not "
                f"{driver.files[0]}; install the same version on all machines"
            )
        reason = f" ({seen.problem})" if seen.problem else ""
        return (
            f"worker at {seen.place}: does not see {run_folder} and {data} as the machine that "
            f"started the run does{reason}; keep both on a file system that all machines share"
        )
    return None
