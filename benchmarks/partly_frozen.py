"""Networks whose first stages stay as ImageNet left them, and are computed once for all of them.

What they make of each picture, and of a few draws of augmentation, is kept in one file; the stages
after them learn from it. On a processor that is several times as fast as training whole networks.
"""

from itertools import cycle, islice
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from doctor_derma.atomic import replacing_file
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import Dataset
from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.terminal import with_progress
from doctor_derma.training.augmentation import augment
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.module import class_loss

BACKBONE = "efficientnet_lite0"
SIZE = (96, 128)
RECIPE = TrainConfig(zoom=1.3, zoom_out=0.8, colour=0.2, cutout=0.1, cast=0.05)
CLASS_CAP = 1000  # Images of a class that a draw shows at most.
BATCH = 64


def split_network(frozen: int) -> tuple[nn.Module, nn.Module]:
    """Return the frozen stages of a fresh network, and those that learn, up to the pooling."""
    network = create_network(BACKBONE, 7, pretrained=True, drop_path=0.1)
    backbone = network.backbone
    stem = network.normalization, backbone.conv_stem, backbone.bn1, *backbone.blocks[:frozen]
    tail = *backbone.blocks[frozen:], backbone.conv_head, backbone.bn2
    return nn.Sequential(*stem), nn.Sequential(*tail, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def as_session(module: nn.Module, example: Tensor, path: Path) -> onnxruntime.InferenceSession:
    """Turn stages into a graph, which is about twice as fast as torch on a processor."""
    module = module.to(memory_format=torch.contiguous_format).eval()
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    torch.onnx.export(module, (example,), str(path), dynamo=False, **names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def frozen_views(dataset: Dataset, frozen: int, draws: int, folder: Path) -> np.ndarray:
    """Return what the frozen stages make of each picture itself, and of every draw of it.

    float16 (1 + draws, images, channels, height, width), 0 for the test split
    """
    path = folder / "views.npy"
    if not path.is_file():
        rows, pixels = np.flatnonzero(dataset.table["split"] != "test"), pixel_cache(dataset, *SIZE)
        stem, example = split_network(frozen)[0].eval(), torch.zeros(1, 3, *SIZE)
        session = as_session(stem, example, folder / "stem.onnx")
        ratio = float((dataset.table["width"] / dataset.table["height"]).median())
        shape = (1 + draws, len(pixels), *stem(example).shape[1:])
        torch.manual_seed(0)
        batches = [
            (view, rows[at : at + 64])
            for view in range(1 + draws)
            for at in range(0, len(rows), 64)
        ]
        with replacing_file(path) as scratch:
            views = np.lib.format.open_memmap(scratch, "w+", np.float16, shape)
            for view, places in with_progress(batches, "Frozen stages"):
                shown = torch.from_numpy(pixels[places])
                seen = augment(shown, SIZE, RECIPE, ratio) if view else scale_pixels(shown)
                views[view, places] = session.run(None, {"x": seen.contiguous().numpy()})[0]
            views.flush()
    return np.load(path, mmap_mode="r")


def shown_views(labels: np.ndarray, rows: np.ndarray, draws: int) -> np.ndarray:
    """Return draw and place of every view that training shows, in its order: int64 (views, 2).

    The first draw is the picture itself. Each shows another choice of the common classes.
    """
    random = np.random.default_rng(0)
    found = []
    for draw in range(1 + draws):
        shuffled = random.permutation(rows)
        kept = [shuffled[labels[shuffled] == k][:CLASS_CAP] for k in np.unique(labels)]
        places = random.permutation(np.concatenate(kept))
        found.append(np.stack([np.full_like(places, draw), places], axis=1))
    return np.concatenate(found)


def train_stages(
    tail: nn.Module,
    views: np.ndarray,
    labels: np.ndarray,
    shown: np.ndarray,
    counts: Tensor,
    images: int,
) -> nn.Module:
    """Train the stages that are not frozen, with a linear head, and return their average.

    Parameters
    ----------
    shown : draw and place of every view, (n, 2), again from the first when all were shown
    counts : training images of each class
    images : how many are shown, all repetitions counted
    """
    network = nn.Sequential(tail, nn.Dropout(0.2), nn.Linear(1280, len(counts)))
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = AdamW(network.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    steps = images // BATCH
    schedule = OneCycleLR(optimizer, 1e-3, steps, pct_start=0.1, cycle_momentum=False)
    ema = ModelEmaV3(network, decay=0.995, use_warmup=True)
    order = cycle(shown)
    for step in with_progress(range(steps), "Training"):
        draw, place = np.stack(list(islice(order, BATCH))).T
        seen = torch.from_numpy(views[draw, place]).float()
        logits = network(seen.contiguous(memory_format=torch.channels_last))
        learn(logits, torch.from_numpy(labels[place]), counts, optimizer, schedule)
        ema.update(network, step)
    return ema.module


def network_logits(
    network: nn.Module, views: np.ndarray, shown: np.ndarray, scratch: Path
) -> np.ndarray:
    """Return the logits that trained stages give for some views, float32 (n, classes)."""
    session = as_session(network, torch.zeros(1, *views.shape[2:]), scratch)
    found = [
        session.run(None, {"x": views[*batch.T].astype(np.float32)})[0]
        for batch in np.split(shown, range(64, len(shown), 64))
    ]
    return np.concatenate(found)


def learn(
    logits: Tensor, targets: Tensor, counts: Tensor, optimizer: AdamW, schedule: LRScheduler
) -> None:
    """Take one step down the loss adjusted for the classes' shares."""
    loss = class_loss(logits, targets, counts, "logit_adjusted", class_cap=CLASS_CAP)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    schedule.step()


def class_counts(labels: np.ndarray) -> Tensor:
    """Count the images of each class."""
    return torch.from_numpy(np.bincount(labels)).float()
