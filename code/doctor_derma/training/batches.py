"""Batches of uint8 pixels straight out of the memory-mapped cache."""

import math
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset as ImageDataset
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.folds import parts_of

Batch = tuple[Tensor, Tensor]


class PixelRows(Dataset[Batch]):
    """Rows of a pixel cache and their class indices, read a batch at a time."""

    def __init__(self, pixels: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> None:
        self.pixels = pixels
        self.rows = rows
        self.targets = torch.from_numpy(targets)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return uint8 pixels (n, H, W, 3) and int64 class indices (n,)."""
        return torch.from_numpy(self.pixels[self.rows[indices]]), self.targets[indices]


class ImageBatches(lightning.LightningDataModule):
    """The training and validation batches of a data set."""

    def __init__(self, dataset: ImageDataset, config: TrainConfig) -> None:
        super().__init__()
        self.dataset = dataset
        self.config = config
        self.parts = parts_of(dataset, config)

    def prepare_data(self) -> None:
        """Decode the images once a machine."""
        self._pixels()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training images in random order; with a class cap, another draw each epoch."""
        rows = self._rows(self.parts.train)
        if self.config.class_cap:
            rows = self._capped(rows)
        processes = self.trainer.world_size if self.trainer else 1
        # A last batch of one image would break batch normalisation.
        drop_last = math.ceil(len(rows) / processes) > self.config.batch_size
        return self._loader(rows, shuffle=True, drop_last=drop_last)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation images in order, each in one process only."""
        rows = self._rows(self.parts.val)
        sampler = None
        if self.trainer and self.trainer.world_size > 1:
            # Lightning's own choice repeats images until all processes have as many, and the
            # metrics would count those twice.
            world, rank = self.trainer.world_size, self.trainer.global_rank
            sampler = UnrepeatedDistributedSampler(
                rows, num_replicas=world, rank=rank, shuffle=False
            )
        return self._loader(rows, sampler=sampler)

    def sample(self, count: int) -> np.ndarray:
        """Return so many training images, or all: uint8 of shape (n, H, W, 3)."""
        rows = self._rows(self.parts.train)
        chosen = np.random.default_rng(self.config.seed).permutation(rows.rows)[:count]
        return rows.pixels[chosen]

    def _capped(self, rows: PixelRows) -> PixelRows:
        epoch = self.trainer.current_epoch if self.trainer else 0
        # All processes of a run draw the same, and share it out.
        random = np.random.default_rng([self.config.seed, epoch])
        targets = rows.targets.numpy()
        drawn = draw_capped(targets, self.config.class_cap, random)
        return PixelRows(rows.pixels, rows.rows[drawn], targets[drawn])

    def _pixels(self) -> np.ndarray:
        return pixel_cache(self.dataset, *self.config.image_size)

    def _rows(self, rows: np.ndarray) -> PixelRows:
        targets = np.array(self.dataset.targets(self.dataset.table.iloc[rows]), dtype=np.int64)
        return PixelRows(self._pixels(), rows, targets)

    def _loader(self, rows: PixelRows, **options: Any) -> DataLoader[Batch]:
        return DataLoader(
            rows,
            self.config.batch_size,
            collate_fn=lambda batch: batch,  # It is one already.
            pin_memory=torch.cuda.is_available(),
            **options,
        )


def draw_capped(targets: np.ndarray, cap: int, random: np.random.Generator) -> np.ndarray:
    """Draw at most ``cap`` images of each class: their places in ``targets``, in order."""
    shuffled = random.permutation(len(targets))
    drawn = [shuffled[targets[shuffled] == label][:cap] for label in np.unique(targets)]
    return np.sort(np.concatenate(drawn))
