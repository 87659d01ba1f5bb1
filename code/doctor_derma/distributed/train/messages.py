"""What the process that started a run and its workers tell each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ray.util.queue import Queue


@dataclass(frozen=True)
class View:
    """What one process sees of a run and its data.

    Attributes
    ----------
    node : the machine's address
    files : what identifies the package, the run and the data; None where they can't be read
    checkpoint : size and time of change of the last checkpoint, None where there is none
    problem : why ``files`` is None
    """

    node: str
    files: tuple[str, ...] | None
    checkpoint: tuple[int, int] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Job:
    """A run to train, as the process that started it sees it.

    Attributes
    ----------
    run, data : absolute paths of the run's folder and of ``data/``
    driver : what the process that started the run sees there
    gpu : train on a GPU each
    queue : takes a ``Message``
    """

    run: Path
    data: Path
    driver: View
    gpu: bool
    queue: Queue


class Position(NamedTuple):
    """Where the workers are in an epoch."""

    epoch: int
    step: int
    steps: int


class EpochMeasured(NamedTuple):
    """What an epoch measured; its checkpoint isn't written yet."""

    epoch: int
    metrics: dict[str, float]


class EpochsKept(NamedTuple):
    """So many epochs are in the last checkpoint: no restart trains them again."""

    epochs: int


class WorkersFailed(NamedTuple):
    """Workers that failed, each with the first line of its reason."""

    reasons: dict[int, str]


Message = Position | EpochMeasured | EpochsKept | WorkersFailed
