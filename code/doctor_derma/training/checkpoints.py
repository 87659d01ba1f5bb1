"""Checkpoints that are whole or not there."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from doctor_derma.atomic import replacing_file


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning writes to the system's scratch folder, which may be another disk: moving a file
    from there is a copy, and a run killed meanwhile would lose the checkpoint before as well.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        # To memory first: on a full disk torch hides the reason behind an error of its own.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            with replacing_file(Path(path)) as scratch, scratch.open("wb") as stream:
                stream.write(content.getbuffer())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error


def remove_leftovers(folder: Path) -> None:
    """Remove what a run that was killed while it wrote a checkpoint has left."""
    for scratch in folder.glob(".*.ckpt"):
        scratch.unlink(missing_ok=True)


def finished_epochs(path: Path) -> int:
    """Return how many epochs of a run its last checkpoint holds, 0 where there is none."""
    if not path.is_file():
        return 0
    # Mapped, so that no weight is read; not only weights are in it, but it is the run's own.
    return torch.load(path, map_location="cpu", mmap=True, weights_only=False)["epoch"] + 1


def averaged_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the moving average of a network's weights from a checkpoint."""
    prefix = "ema.module."
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
