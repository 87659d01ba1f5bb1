"""What is kept, shown and plotted of each epoch, and the end of a run that has diverged."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.console import Console

from doctor_derma.atomic import replacing_file
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal

OnEpoch = Callable[[int, dict[str, float]], None]
CURVES_FILE = "curves.png"
_PANELS = (
    ("Loss", "cross entropy (nats)", {"train_loss": "training", "val_loss": "validation"}),
    (
        "Validation scores",
        "score (0 to 1)",
        {"val_balanced_accuracy": "balanced accuracy", "val_macro_auc": "macro ROC AUC"},
    ),
    ("Learning rate", "AdamW step size", {"learning_rate": "learning rate"}),
)
# Batches between two looks: each makes a GPU wait, and several processes for each other.
BATCHES_BETWEEN_LOOKS = 20


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

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the epoch's clock."""
        self.started = time.perf_counter()
        self.trained = None

    def on_validation_start(self, *_: Any) -> None:
        """Note when training ended, as ``images_per_second`` leaves validation out."""
        self.trained = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Write the row, print the line and call ``on_epoch``; only the first process does."""
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
    measured = ("train_loss", "val_loss", "val_balanced_accuracy", "val_macro_auc")
    words = {name: name.replace("_", " ").replace("auc", "AUC") for name in measured}
    values = [f"{words[name]} {metrics[name]:.3f}" for name in measured if name in metrics]
    speed = f"{metrics['images_per_second']:.0f} images/s"
    left = f"about {(epochs - epoch - 1) * metrics['seconds'] / 60:.1f} min left"
    console.print("  ".join([f"epoch {epoch + 1}/{epochs}", *values, speed, left]))


def plot_curves(metrics_file: Path, path: Path, title: str) -> None:
    """Plot loss, validation scores and learning rate by epoch from a run's ``metrics.csv``."""
    metrics = pd.read_csv(metrics_file)
    figure = Figure(figsize=(12, 3.6), layout="constrained", dpi=110)
    figure.suptitle(title)
    for axes, (panel, unit, series) in zip(figure.subplots(1, 3), _PANELS, strict=True):
        for column, label in series.items():
            measured = metrics[["epoch", column]].dropna()  # Not every epoch is validated.
            axes.plot(measured["epoch"] + 1, measured[column], marker=".", label=label)
        axes.set(title=panel, xlabel="epoch", ylabel=unit)
        axes.grid(alpha=0.3)
        # Named, as matplotlib warns of this default where to find a place takes over a second.
        axes.legend(loc="best", frameon=False)
    with replacing_file(path) as scratch:
        figure.savefig(scratch)


class StopWhenDiverged(lightning.Callback):
    """Ends a run whose loss is no number any more, which no later batch can mend."""

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: object, outputs: Any, batch: object, index: int
    ) -> None:
        """Look at the loss after every ``BATCHES_BETWEEN_LOOKS`` batches and after the last.

        Raises
        ------
        DermaError
            In every process of the run, where the loss is no number in one of them.
        """
        # Weights that are no numbers give losses that are none: the last one tells of all before.
        done, batches = index + 1, trainer.num_training_batches
        if done % BATCHES_BETWEEN_LOOKS and done != batches:
            return
        finite = bool(torch.isfinite(outputs["loss"]))
        if trainer.strategy.reduce_boolean_decision(finite, all=True):
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        raise DermaError(
            f"training has diverged: in epoch {trainer.current_epoch + 1}, at batch {done} of "
            f"{batches}, the loss is no number; train anew with a smaller "
            f"--learning-rate (it is {rate:.3g} there) or with --precision fp32"
        )
