"""Batches of uint8 pixels straight out of the memory-mapped cache."""

from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset as ImageDataset
from doctor_derma.training.config import TrainConfig

Batch = tuple[Tensor, Tensor]


class PixelRows(Dataset):
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

    def prepare_data(self) -> None:
        """Decode the images once a machine."""
        self._pixels()

    def train_dataloader(self) -> DataLoader:
        rows = self._rows("train")
        # A last batch of one image would break batch normalisation.
        drop_last = len(rows) > self.config.batch_size
        return self._loader(rows, shuffle=True, drop_last=drop_last)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self._rows("val"), shuffle=False, drop_last=False)

    def _pixels(self) -> np.ndarray:
        return pixel_cache(self.dataset, self.config.image_size, self.config.image_size)

    def _rows(self, split: str) -> PixelRows:
        table = self.dataset.table
        rows = np.flatnonzero(table["split"] == split)
        targets = np.array(self.dataset.targets(table.iloc[rows]), dtype=np.int64)
        return PixelRows(self._pixels(), rows, targets)

    def _loader(self, rows: PixelRows, *, shuffle: bool, drop_last: bool) -> DataLoader:
        return DataLoader(
            rows,
            self.config.batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available(),
        )


def _as_is(batch: Any) -> Any:
    return batch
