"""What a run's workers tell the process that started it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning
from ray.exceptions import RayActorError
from ray.train import UserCallback
from ray.util.queue import Queue

_SECONDS_BETWEEN = 1.0


@dataclass(frozen=True)
class Position:
    """Where the workers are in an epoch."""

    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class EpochMeasured:
    """What an epoch measured; its checkpoint isn't written yet."""

    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class EpochsKept:
    """So many epochs are in the last checkpoint: no restart trains them again."""

    count: int


@dataclass(frozen=True)
class WorkersLost:
    """Workers that failed, each with the first line of its reason."""

    reasons: dict[int, str]


class Announcer(lightning.Callback):
    """Tells where the workers are, about once a second, and what is kept."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.told = 0.0

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if trainer.is_global_zero:
            # The checkpoint of the epoch before is written: that was the end of it.
            self.queue.put(EpochsKept(trainer.current_epoch))

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if trainer.is_global_zero:
            self.queue.put(EpochsKept(trainer.current_epoch))

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self.told > _SECONDS_BETWEEN:
            self.told = now
            steps = int(trainer.num_training_batches)
            self.queue.put(Position(trainer.current_epoch, batch_idx + 1, steps))


class Losses(UserCallback):
    """Tells which workers failed; Ray Train calls it before it starts them again."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def after_exception(self, run_context: Any, worker_exceptions: "dict[int, Exception]") -> None:
        self.queue.put(WorkersLost(lost(worker_exceptions)))


def lost(errors: Mapping[int, Exception]) -> dict[int, str]:
    """Return the first line of each worker's error.

    When a worker dies the others fail too, as they wait for its gradients: then only those that
    died are told.
    """
    causes = {rank: getattr(error, "health_check_failure", error) for rank, error in errors.items()}
    died = {rank: error for rank, error in causes.items() if isinstance(error, RayActorError)}
    return {rank: first_line(error) for rank, error in (died or causes).items()}


def first_line(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}".removesuffix(": ")
