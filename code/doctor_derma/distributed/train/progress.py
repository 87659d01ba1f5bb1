"""What a run's workers tell the process that started it, and what that does with it."""

import math
import time
from typing import Any, Self

import lightning
import pandas as pd
from ray.util.queue import Queue
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from doctor_derma.distributed.train.messages import (
    EpochMeasured,
    EpochsKept,
    Message,
    Position,
    WorkersFailed,
)
from doctor_derma.terminal import terminal
from doctor_derma.training.checkpoints import finished_epochs
from doctor_derma.training.epochs import OnEpoch, print_epoch
from doctor_derma.training.runs import Run

_SECONDS_BETWEEN = 1.0


class Announcer(lightning.Callback):
    """Tells the driver where the workers are, about once a second, and what is kept."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.told = 0.0

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Tell how many epochs are trained and kept; only the first worker does."""
        if trainer.is_global_zero:
            # The checkpoint of the epoch before is written: that was the end of it.
            self.queue.put(EpochsKept(trainer.current_epoch))

    on_train_end = on_train_epoch_start

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Tell the epoch and the batch, if the last time was over a second ago."""
        now = time.monotonic()
        if trainer.is_global_zero and now - self.told > _SECONDS_BETWEEN:
            self.told = now
            steps = int(trainer.num_training_batches)
            self.queue.put(Position(trainer.current_epoch, batch_idx + 1, steps))


class Listener:
    """Shows what the workers of a run tell, and hands on the metrics of kept epochs.

    An epoch that was measured but not kept is trained again after a restart, so it is handed on
    when its checkpoint is written and not before. Epochs come in order, each once.
    """

    def __init__(self, run: Run, workers: int, on_epoch: OnEpoch | None) -> None:
        self.run = run
        self.on_epoch = on_epoch
        self.measured: dict[int, dict[str, float]] = {}
        self.next = finished_epochs(run.last_checkpoint)
        self.console = terminal(error=True, soft_wrap=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.1f}/{task.total} epochs"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        plural = "" if workers == 1 else "s"
        self.task = self.bar.add_task(f"{workers} worker{plural}", total=run.config.epochs)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Hand on what was kept meanwhile, however the run ended."""
        try:
            # An interrupt may have cut a message off.
            self.measured = _written(self.run) | self.measured
            self._hand_on(finished_epochs(self.run.last_checkpoint))
        finally:
            self.bar.stop()

    def hear(self, message: Message) -> None:
        """Take one message of the workers."""
        match message:
            case Position(epoch, step, steps):
                self.bar.update(self.task, completed=epoch + step / steps)
            case EpochMeasured(epoch, metrics):
                self.measured[epoch] = metrics
            case EpochsKept(epochs):
                self._hand_on(epochs)
                self.bar.update(self.task, completed=epochs)
            case WorkersFailed(reasons):
                ranks = ", ".join(map(str, sorted(reasons)))
                why = "; ".join(sorted(set(reasons.values())))
                kept = finished_epochs(self.run.last_checkpoint)
                line = f"Lost worker {ranks} ({why}); going on after epoch {kept}"
                self.console.print(line, style="yellow")

    def _hand_on(self, count: int) -> None:
        while self.next < count and self.next in self.measured:
            epoch = self.next
            self.next += 1
            metrics = self.measured.pop(epoch)
            print_epoch(self.console, epoch, self.run.config.epochs, metrics)
            if self.on_epoch:
                self.on_epoch(epoch, metrics)


def _written(run: Run) -> dict[int, dict[str, float]]:
    """Read what ``metrics.csv`` holds of each epoch."""
    if not run.metrics_file.is_file():
        return {}
    # By way of strings: pandas before 3 rounds the last digit of what it reads as numbers.
    table = pd.read_csv(run.metrics_file, dtype=str).astype(float).set_index("epoch")
    rows = zip(table.index, table.to_dict("records"), strict=True)
    return {
        int(epoch): {str(name): value for name, value in row.items() if not math.isnan(value)}
        for epoch, row in rows
    }
