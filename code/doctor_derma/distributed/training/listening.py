"""The driver's side of a run: its screen, and the metrics of every epoch, once each."""

import math
from types import TracebackType
from typing import Any, Self

import pandas as pd
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from doctor_derma.distributed.training.messages import (
    EpochMeasured,
    EpochsKept,
    Position,
    WorkersLost,
)
from doctor_derma.terminal import terminal
from doctor_derma.training.checkpoints import finished_epochs
from doctor_derma.training.epochs import OnEpoch, print_epoch
from doctor_derma.training.runs import Run


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hand on what was kept meanwhile, however the run ended."""
        try:
            # An interrupt may have cut a message off.
            self.measured = _written(self.run) | self.measured
            self._hand_on(finished_epochs(self.run.last_checkpoint))
        finally:
            self.bar.stop()

    def hear(self, message: Any) -> None:
        """Take one message of the workers."""
        if isinstance(message, Position):
            self.bar.update(self.task, completed=message.epoch + message.step / message.steps)
        elif isinstance(message, EpochMeasured):
            self.measured[message.epoch] = message.metrics
        elif isinstance(message, EpochsKept):
            self._hand_on(message.count)
            self.bar.update(self.task, completed=message.count)
        elif isinstance(message, WorkersLost):
            self._print_loss(message)

    def _hand_on(self, count: int) -> None:
        while self.next < count and self.next in self.measured:
            epoch = self.next
            self.next += 1
            metrics = self.measured.pop(epoch)
            print_epoch(self.console, epoch, self.run.config.epochs, metrics)
            if self.on_epoch:
                self.on_epoch(epoch, metrics)

    def _print_loss(self, lost: WorkersLost) -> None:
        names = ", ".join(str(rank) for rank in sorted(lost.reasons))
        reasons = "; ".join(sorted(set(lost.reasons.values())))
        kept = finished_epochs(self.run.last_checkpoint)
        self.console.print(
            f"Lost worker {names} ({reasons}); going on after epoch {kept}",
            style="yellow",
        )


def _written(run: Run) -> dict[int, dict[str, float]]:
    """Read what ``metrics.csv`` holds of each epoch."""
    if not run.metrics_file.is_file():
        return {}
    table = pd.read_csv(run.metrics_file, float_precision="round_trip").set_index("epoch")
    rows = zip(table.index, table.to_dict("records"), strict=True)
    return {
        int(epoch): {str(name): value for name, value in row.items() if not math.isnan(value)}
        for epoch, row in rows
    }
