"""A look inside channel attention: the gates of every block, and what happens without them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset
from doctor_derma.models.attention import EfficientChannelAttention, SqueezeExcitation
from doctor_derma.models.networks import LesionNetwork
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.runs import Run

BATCH = 64


def attentions(network: nn.Module) -> list[SqueezeExcitation | EfficientChannelAttention]:
    """List the attention modules from the first block to the last."""
    kinds = (SqueezeExcitation, EfficientChannelAttention)
    return [module for module in network.modules() if isinstance(module, kinds)]


def split_images(dataset: Dataset, run: Run, split: str, most: int = 500) -> tuple[Tensor, Tensor]:
    """Return up to ``most`` images in [0, 1] (n, 3, H, W) of a split, and their classes (n,)."""
    rows = np.flatnonzero(dataset.table["split"] == split)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:most])
    pixels = torch.from_numpy(pixel_cache(dataset, *run.config.image_size)[rows])
    return scale_pixels(pixels), torch.tensor(dataset.targets(dataset.table.iloc[rows]))


@torch.inference_mode()
def channel_gates(network: LesionNetwork, images: Tensor) -> list[Tensor]:
    """Return the gates of each block, one tensor (n, channels) a block."""
    modules = attentions(network)
    gates: dict[nn.Module, list[Tensor]] = {module: [] for module in modules}

    def keep(module, inputs, output):
        gates[module].append(module.gates(inputs[0]).flatten(1))

    hooks = [module.register_forward_hook(keep) for module in modules]
    for batch in images.split(BATCH):
        network(batch)
    for hook in hooks:
        hook.remove()
    return [torch.cat(gates[module]) for module in modules]


@torch.inference_mode()
def balanced_accuracy(network: LesionNetwork, images: Tensor, targets: Tensor) -> float:
    """Return the mean sensitivity over the classes."""
    called = torch.cat([network(batch).argmax(1) for batch in images.split(BATCH)])
    return float(balanced_accuracy_score(targets, called))


@contextmanager
def frozen_gates(network: LesionNetwork, gates: list[Tensor]) -> Iterator[None]:
    """Give every image the mean of ``gates``, so that attention no longer looks at the image."""
    hooks = [
        module.register_forward_hook(
            lambda module, inputs, output, mean=mean: inputs[0] * mean[None, :, None, None]
        )
        for module, mean in zip(
            attentions(network), [block.mean(0) for block in gates], strict=True
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
