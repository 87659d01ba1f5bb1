"""Says that a training has diverged when it does, not after the epochs that it wastes."""

from typing import Any

import lightning
import torch

from doctor_derma.errors import DermaError

# Batches between two looks: each makes a GPU wait, and several processes for each other.
EVERY = 20


class StopWhenDiverged(lightning.Callback):
    """Ends a run whose loss is no number any more, which no later batch can mend.

    Raises
    ------
    DermaError
        In every process of the run, at the next look.
    """

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Weights that are no numbers give losses that are none: the last one tells of all before.
        if (batch_idx + 1) % EVERY == 0 or batch_idx + 1 == trainer.num_training_batches:
            self._look(trainer, outputs["loss"], batch_idx)

    def _look(self, trainer: lightning.Trainer, loss: torch.Tensor, batch: int) -> None:
        finite = bool(torch.isfinite(loss))
        if trainer.strategy.reduce_boolean_decision(finite, all=True):
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        raise DermaError(
            f"training has diverged: in epoch {trainer.current_epoch + 1}, at batch {batch + 1} of "
            f"{trainer.num_training_batches}, the loss is no number; train anew with a smaller "
            f"--learning-rate (it is {rate:.3g} there) or with --precision fp32"
        )
