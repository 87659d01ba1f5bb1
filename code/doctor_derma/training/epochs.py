"""What is kept and shown of each epoch."""

import time
from collections.abc import Callable
from pathlib import Path

import lightning
import pandas as pd
from rich.console import Console

from doctor_derma.atomic import replacing_file

OnEpoch = Callable[[int, dict[str, float]], None]


class EpochTable(lightning.Callback):
    """One row an epoch in ``metrics.csv``, one line on the screen, one call to ``on_epoch``.

    A resumed run keeps the rows of the epochs before the checkpoint it starts from.
    """

    def __init__(self, path: Path, batch_size: int, on_epoch: OnEpoch | None = None) -> None:
        self.path = path
        self.batch_size = batch_size
        self.on_epoch = on_epoch
        self.console = Console(stderr=True, soft_wrap=True)
        self.started = 0.0
        self.trained = 0.0

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.started = time.perf_counter()

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.trained = time.perf_counter()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if not trainer.is_global_zero:
            return
        images = trainer.num_training_batches * self.batch_size * trainer.world_size
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        metrics["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        metrics["images_per_second"] = images / (self.trained - self.started)
        metrics["seconds"] = time.perf_counter() - self.started
        epoch = trainer.current_epoch
        self._write(epoch, metrics)
        left = (trainer.max_epochs or 0) - epoch - 1
        self.console.print(
            f"epoch {epoch + 1}/{trainer.max_epochs}"
            f"  train loss {metrics['train_loss']:.3f}  val loss {metrics['val_loss']:.3f}"
            f"  val balanced accuracy {metrics['val_balanced_accuracy']:.3f}"
            f"  val macro AUC {metrics['val_macro_auc']:.3f}"
            f"  {metrics['images_per_second']:.0f} images/s"
            f"  about {left * metrics['seconds'] / 60:.1f} min left",
            highlight=False,
        )
        if self.on_epoch:
            self.on_epoch(epoch, metrics)

    def _write(self, epoch: int, metrics: dict[str, float]) -> None:
        row = pd.DataFrame([{"epoch": epoch, **metrics}])
        if self.path.is_file():
            before = pd.read_csv(self.path)
            row = pd.concat([before[before["epoch"] < epoch], row], ignore_index=True)
        with replacing_file(self.path) as scratch:
            row.to_csv(scratch, index=False)
