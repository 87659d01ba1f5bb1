"""What each worker does: agree on the files, then train as a single process would."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment, prepare_trainer
from ray.util.queue import Queue

from doctor_derma.data.manifest import read_dataset
from doctor_derma.distributed.training.agreement import View, await_agreement
from doctor_derma.distributed.training.messages import Announcer, EpochMeasured
from doctor_derma.errors import DermaError
from doctor_derma.training.epochs import EpochTable
from doctor_derma.training.loop import fit, make_trainer
from doctor_derma.training.runs import open_run


@dataclass(frozen=True)
class Job:
    """A run to train, as the process that started it sees it.

    Attributes
    ----------
    run, data : absolute paths of the run's folder and of ``data/``
    driver : what the process that started the run sees there
    gpu : train on a GPU each
    queue : takes the messages of ``messages.py``
    """

    run: Path
    data: Path
    driver: View
    gpu: bool
    queue: Queue


def train_worker(settings: dict[str, Any]) -> str | None:
    """Train the run ``settings["job"]`` together with the other workers.

    Returns
    -------
    a mistake in the input that all workers meet, in one sentence, else None: an exception would
    have Ray Train try again
    """
    job: Job = settings["job"]
    if found := await_agreement(job.run, job.data, job.driver):
        return found
    try:
        _train(job)
    except DermaError as mistake:
        return str(mistake)
    return None


def _train(job: Job) -> None:
    run = open_run(job.run.parent, job.run.name)

    def tell(epoch: int, metrics: dict[str, float]) -> None:
        job.queue.put(EpochMeasured(epoch, metrics))

    table = EpochTable(run.metrics_file, run.config.batch_size, tell, shown=False)
    trainer = make_trainer(
        run,
        [table, Announcer(job.queue)],
        plugins=[RayLightningEnvironment()],
        strategy=RayDDPStrategy(),
        accelerator="gpu" if job.gpu else "cpu",
        devices="auto",
    )
    fit(prepare_trainer(trainer), run, read_dataset(job.data))
