"""A training that diverges says so in the epoch in which it does."""

from pathlib import Path

import pytest
import torch

from doctor_derma.data.manifest import read_dataset
from doctor_derma.errors import DermaError
from doctor_derma.training import epochs, module
from doctor_derma.training.loop import train
from doctor_derma.workspace import Workspace
from project import new_run


@pytest.mark.parametrize(("every", "seen"), [(1, 3), (1000, 4)])
def test_it_ends_at_the_next_look(
    every: int, seen: int, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    real = module.class_loss

    def overflow(*arguments: object) -> torch.Tensor:
        losses.append(real(*arguments) * (1 if len(losses) < 2 else torch.inf))
        return losses[-1]

    monkeypatch.setattr(module, "class_loss", overflow)
    monkeypatch.setattr(epochs, "BATCHES_BETWEEN_LOOKS", every)
    run = new_run(root, "diverging", epochs=50, batch_size=16)
    with pytest.raises(DermaError, match="training has diverged: in epoch 2, at batch") as caught:
        train(run, read_dataset(Workspace(root).data))
    assert "smaller --learning-rate (it is " in str(caught.value)
    assert len(losses) == seen
    assert len(run.metrics_file.read_text().splitlines()) == 2


def test_a_rate_that_is_too_large_is_found_out(root: Path) -> None:
    run = new_run(root, "diverging", epochs=50, learning_rate=1e20)
    with pytest.raises(DermaError, match="training has diverged"):
        train(run, read_dataset(Workspace(root).data))
