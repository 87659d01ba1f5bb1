"""Training images a second: ours, the ceiling of the network alone, and a plain loop.

All three train the same network at the same size and batch, with the same optimizer and
moving average, in turn and several times in one process:

- ceiling: one batch that lies in memory, normalised, again and again; no data loading.
- ours: ``derma train``'s own loop, on the memory-mapped cache, augmented in batches.
- plain: torchvision's ``ImageFolder`` and ``DataLoader`` with two workers and the usual
  transforms of the same kinds (rotation, flip, crop, colour, erasing).

Takes about 4 minutes; needs imported data and an idle machine.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import lightning
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from typer import Option

from command import run, show
from doctor_derma.data.manifest import Dataset, read_dataset
from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from doctor_derma.training.batches import Batch, ImageBatches
from doctor_derma.training.config import Size, TrainConfig, read_size
from doctor_derma.training.loop import trainer_precision
from doctor_derma.training.module import LesionModule, class_counts, class_loss
from doctor_derma.workspace import Workspace

WARM_UP = 5


class StepClock(lightning.Callback):
    """Times the steps of Lightning's loop after a warm-up."""

    def __init__(self) -> None:
        self.steps = 0
        self.started = self.seconds = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: object) -> None:
        self.steps += 1
        if self.steps == WARM_UP:
            self.started = time.perf_counter()
        self.seconds = time.perf_counter() - self.started


def ours(dataset: Dataset, config: TrainConfig, steps: int) -> float:
    """Return images a second of the project's own training loop."""
    rows = dataset.split("train")
    module = LesionModule(config, class_counts(dataset.targets(rows), len(dataset.classes)))
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_steps=steps + WARM_UP,
            max_epochs=-1,
            limit_val_batches=0,
            precision=trainer_precision(config),
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            default_root_dir=folder,
        )
        trainer.fit(module, datamodule=ImageBatches(dataset, config))
    return config.batch_size * steps / clock.seconds


def ceiling(dataset: Dataset, config: TrainConfig, steps: int) -> float:
    """Return images a second of the network fed from memory."""
    images = torch.randn(config.batch_size, 3, *config.train_size)
    batch = images.contiguous(memory_format=torch.channels_last), torch.zeros(len(images)).long()
    return bare_loop(dataset, config, steps, iter(lambda: batch, None))


def plain(dataset: Dataset, config: TrainConfig, steps: int) -> float:
    """Return images a second of an ImageFolder and a DataLoader."""
    size, colour = config.train_size, config.colour
    transform = v2.Compose(
        [
            v2.RandomRotation(config.rotation),
            v2.RandomResizedCrop(size, scale=(1 / config.zoom**2, 1)),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(colour, colour, colour, colour / 4),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            v2.RandomErasing(config.cutout),
        ]
    )
    folder = ImageFolder(dataset.folder / "train", transform)
    loader = DataLoader(folder, config.batch_size, shuffle=True, drop_last=True, num_workers=2)
    return bare_loop(dataset, config, steps, endless(loader))


def bare_loop(dataset: Dataset, config: TrainConfig, steps: int, batches: Iterator[Batch]) -> float:
    """Train on given batches with the optimizer, loss and average of the recipe, no more."""
    counts = class_counts(dataset.targets(dataset.split("train")), len(dataset.classes))
    network = create_network(config.model, len(counts)).to(memory_format=torch.channels_last)
    average = ModelEmaV3(network, decay=config.ema_decay, use_warmup=True)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, fused=True)
    bf16 = trainer_precision(config) == "bf16-mixed"

    def step(images: Tensor, targets: Tensor) -> None:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = network(images).float()
        loss = class_loss(logits, targets, counts, config.imbalance, config.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(network)

    for images, targets in islice(batches, WARM_UP):
        step(images, targets)
    started = time.perf_counter()
    for images, targets in islice(batches, steps):
        step(images, targets)
    return config.batch_size * steps / (time.perf_counter() - started)


def endless(loader: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        yield from loader


def main(
    data: Path | None = None,
    model: str = "eca_resnet18",
    size: Annotated[Size, Option(parser=read_size)] = "112",
    steps: int = 25,
    rounds: int = 3,
) -> None:
    sizes = dict.fromkeys(("image_size", "train_size", "start_size"), size)
    config = TrainConfig(model=model, **sizes)
    dataset = read_dataset(data or Workspace.find().data)
    loops: dict[str, Callable[[Dataset, TrainConfig, int], float]] = {
        "ceiling": ceiling,
        "ours": ours,
        "plain": plain,
    }
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            speeds[name].append(loop(dataset, config, steps))
    rows = []
    top = statistics.median(speeds["ceiling"])
    for name, found in speeds.items():
        middle = statistics.median(found)
        spread = f"{min(found):.1f} to {max(found):.1f}"
        rows.append((name, f"{middle:.1f}", spread, f"{middle / top:.3f}"))
    headings = "loop", "images/s (median)", "lowest to highest", "ratio to the ceiling"
    show(f"{model}, {size} px, {trainer_precision(config)}", headings, rows)


if __name__ == "__main__":
    run(main)
