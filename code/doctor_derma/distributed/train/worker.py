"""What each worker does: agree with the others on the files, then train as one process would."""

import time
from collections.abc import Sequence
from pathlib import Path

import ray
from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment, prepare_trainer
from torch import distributed

from doctor_derma import __version__
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.distributed.train.messages import EpochMeasured, Job, View
from doctor_derma.distributed.train.progress import Announcer
from doctor_derma.errors import DermaError
from doctor_derma.training.epochs import EpochTable
from doctor_derma.training.loop import fit, make_trainer
from doctor_derma.training.runs import Run, open_run

# A network file system may show another machine's file a minute late.
_ROUNDS = 45
_SECONDS_A_ROUND = 2


def train_worker(job: Job) -> str | None:
    """Train a run with the other workers, and return a mistake in the input that all meet.

    It is one sentence, or None: an exception would have Ray Train try again.
    """
    if found := await_agreement(job.run, job.data, job.driver):
        return found
    try:
        _train(job)
    except DermaError as mistake:
        return str(mistake)
    return None


def _train(job: Job) -> None:
    run = open_run(job.run.parent, job.run.name)
    table = EpochTable(
        run.metrics_file,
        run.config.batch_size,
        lambda epoch, metrics: job.queue.put(EpochMeasured(epoch, metrics)),
        shown=False,
    )
    trainer = make_trainer(
        run,
        [table, Announcer(job.queue)],
        plugins=[RayLightningEnvironment()],
        strategy=RayDDPStrategy(),
        accelerator="gpu" if job.gpu else "cpu",
        devices="auto",
    )
    fit(prepare_trainer(trainer), run, read_dataset(job.data))


def identity(run: Run, dataset: Dataset) -> tuple[str, ...]:
    """Return what tells this version of the package, a run and its data from others."""
    return (__version__, run.name, run.info.created, dataset.fingerprint)


def view(run_folder: Path, data: Path) -> View:
    """Look at a run and its data from this process."""
    node = ray.util.get_node_ip_address()
    try:
        run = open_run(run_folder.parent, run_folder.name)
        files = identity(run, read_dataset(data))
        status = run.last_checkpoint.stat() if run.last_checkpoint.is_file() else None
    except (DermaError, OSError) as error:
        return View(node, None, problem=str(error))
    return View(node, files, (status.st_size, status.st_mtime_ns) if status else None)


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
                f"worker at {seen.node}: has doctor-derma {seen.files[0]}, not "
                f"{driver.files[0]}; install the same version on all machines"
            )
        reason = f" ({seen.problem})" if seen.problem else ""
        return (
            f"worker at {seen.node}: does not see {run_folder} and {data} as the machine that "
            f"started the run does{reason}; keep both on a file system that all machines share"
        )
    return None
