"""Random numbers of an augmentation, drawn on the processor: a seed means the same anywhere."""

import torch
from torch import Tensor


def uniform(count: int, low: float, high: float) -> Tensor:
    """Draw float32 numbers between two limits, shape (count,)."""
    return torch.empty(count).uniform_(low, high)


def chosen(count: int, share: float) -> Tensor:
    """Choose each of ``count`` images with the probability ``share``: their places, int64."""
    return torch.rand(count).less(share).nonzero().flatten()
