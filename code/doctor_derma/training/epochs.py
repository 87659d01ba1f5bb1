"""What is kept and shown of each epoch."""

import time
from collections.abc import Callable
from pathlib import Path

import lightning
import pandas as pd
from rich.console import Console

from doctor_derma.atomic import replacing_file
from doctor_derma.terminal import terminal

OnEpoch = Callable[[int, dict[str, float]], None]


class EpochTable(lightning.Callback):
    """One row an epoch in ``metrics.csv``, one line on the screen, one call to ``on_epoch``.

    A resumed run keeps the rows of the epochs before the checkpoint it starts from. Where
    ``shown`` is off, the screen is somebody else's.
    """

    def __init__(
        self, path: Path, batch_size: int, on_epoch: OnEpoch | None = None, shown: bool = True
    ) -> None:
        self.path = path
        self.batch_size = batch_size
        self.on_epoch = on_epoch
        self.console = terminal(error=True, soft_wrap=True) if shown else None
        self.started = 0.0
        self.trained: float | None = None

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.started = time.perf_counter()
        self.trained = None

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.trained = time.perf_counter()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if not trainer.is_global_zero:
            return
        now = time.perf_counter()
        images = trainer.num_training_batches * self.batch_size * trainer.world_size
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.trained is None:  # Lightning keeps the values of the last validation.
            metrics = {name: metrics[name] for name in metrics if not name.startswith("val_")}
        metrics["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        metrics["images_per_second"] = images / ((self.trained or now) - self.started)
        metrics["seconds"] = now - self.started
        epoch = trainer.current_epoch
        self._write(epoch, metrics)
        if self.console:
            print_epoch(self.console, epoch, trainer.max_epochs or 0, metrics)
        if self.on_epoch:
            self.on_epoch(epoch, metrics)

    def _write(self, epoch: int, metrics: dict[str, float]) -> None:
        row = pd.DataFrame([{"epoch": epoch, **metrics}])
        if self.path.is_file():
            before = pd.read_csv(self.path)
            row = pd.concat([before[before["epoch"] < epoch], row], ignore_index=True)
        with replacing_file(self.path) as scratch:
            row.to_csv(scratch, index=False)


def print_epoch(console: Console, epoch: int, epochs: int, metrics: dict[str, float]) -> None:
    """Print the line of one epoch of a run of so many."""
    shown = {
        "train_loss": "train loss",
        "val_loss": "val loss",
        "val_balanced_accuracy": "val balanced accuracy",
        "val_macro_auc": "val macro AUC",
    }
    values = [f"{shown[name]} {metrics[name]:.3f}" for name in shown if name in metrics]
    speed = f"{metrics['images_per_second']:.0f} images/s"
    left = f"about {(epochs - epoch - 1) * metrics['seconds'] / 60:.1f} min left"
    line = "  ".join([f"epoch {epoch + 1}/{epochs}", *values, speed, left])
    console.print(line)
