"""One job from its first weights to its files, resumable, and several jobs side by side."""

import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from timm.data.mixup import Mixup
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from doctor_derma.atomic import replacing_file
from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.augmentation import augment
from doctor_derma.training.module import class_loss
from jobs import ATTENTIONS, RECIPES, Job, fold_name
from packed import ASPECT_RATIO, BACKBONE, FOLDS, SIZE, PackedImages, decode_once

CLASS_CAP = 1800
MIXUP = 0.2
TEACHERS_SHARE = 0.7  # Of a student's targets; the rest is what the image is labelled as.
CHECKPOINT_STEPS = 50
FROZEN_STAGES = 3

# Images of a step, and its targets: classes (n,), or float (n, classes) with a distribution a row.
Draw = Callable[[], tuple[Tensor, Tensor]]


def train_side_by_side(jobs: list[Job], folder: Path, workers: int) -> None:
    """Train jobs in up to ``workers`` processes of one thread each, and say when each is done."""
    decode_once(folder)  # Not by every process.
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_set_up) as pool:
        waiting = {pool.submit(train_job, job, folder): job for job in jobs}
        for number, done in enumerate(as_completed(waiting), start=1):
            try:
                said = done.result()
            except BrokenProcessPool:
                raise SystemExit("a process has died; run the same command to go on") from None
            except Exception as error:  # the others go on
                said = f"{waiting[done].name}: FAILED {type(error).__name__}: {error}"
            seconds = time.monotonic() - began
            print(f"[{seconds:4.0f} s] {number}/{len(jobs)} {said}", flush=True)


def _set_up() -> None:
    # An interrupted process would report that, and go on with the next job.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


@cache
def _packed(folder: Path) -> PackedImages:
    return PackedImages(folder, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def train_job(job: Job, folder: Path) -> str:
    """Train a network, or go on with it, and keep its weights and its logits of unseen images."""
    done, checkpoint = folder / f"{job.name}.npz", folder / f"{job.name}.ckpt"
    if done.is_file():
        return f"{job.name}: done before"
    images = _packed(folder)
    known = images.known(job.left_out)
    counts = np.bincount(images.labels[known], minlength=len(images.classes))
    counts = torch.from_numpy(counts).float().to(images.pixels.device)
    torch.manual_seed(job.seed)
    network = first_network(job, folder, len(counts)).to(images.pixels.device)
    random = np.random.default_rng([job.seed, steps_done(checkpoint)])
    draw = draws_of(job, images, folder, counts, random)
    began = time.monotonic()
    averaged = fit(network, draw, counts, checkpoint, job)
    seconds = time.monotonic() - began
    weights = {name: value.contiguous() for name, value in averaged.state_dict().items()}
    with replacing_file(folder / f"{job.name}.safetensors") as scratch:
        save_file(weights, scratch)
    logits = all_logits(averaged, images, np.flatnonzero(~known))
    with replacing_file(done) as scratch:
        np.savez(scratch, logits=logits, trained_on=known, seconds=seconds)
    checkpoint.unlink(missing_ok=True)
    return f"{job.name}: {seconds:.0f} s, {job.images / max(seconds, 1e-9):.0f} images/s"


def first_network(job: Job, folder: Path, classes: int) -> LesionNetwork:
    """Return the network that a job begins with: ImageNet's weights, or those of another job."""
    weights = folder / "imagenet.safetensors"
    network = create_network(
        *(job.model, classes),
        pretrained=True,
        weights=weights if weights.is_file() else None,
        dropout=0.2,
        drop_path=0.1,
    )
    if job.start:
        network.load_state_dict(load_file(folder / f"{job.start}.safetensors"))
    if job.frozen:
        network.freeze(FROZEN_STAGES)
    return network.to(memory_format=torch.channels_last)


def draws_of(
    job: Job, images: PackedImages, folder: Path, counts: Tensor, random: np.random.Generator
) -> Draw:
    """Return what gives a job its next images, augmented, and their targets.

    Without teachers, images are mixed in pairs. With them, 70% of a target is what the networks
    that have not seen the image say of the very view that the student sees.
    """
    device = images.pixels.device
    labels = torch.from_numpy(images.labels).to(device)
    rows = np.flatnonzero(images.known(job.left_out))
    batches = row_batches(job, rows, images.labels, images.folds, random)
    mixup = Mixup(MIXUP, num_classes=len(counts), label_smoothing=0.0)
    teachers = fold_networks(folder, len(counts), device) if job.teachers else {}

    def draw() -> tuple[Tensor, Tensor]:
        chosen = next(batches)
        where = torch.from_numpy(chosen).to(device)
        drawn = augment(images.pixels[where], SIZE, RECIPES[job.recipe], ASPECT_RATIO)
        drawn = drawn.contiguous(memory_format=torch.channels_last)
        if not teachers:
            return mixup(drawn, labels[where])
        soft = soft_labels(teachers[int(images.folds[chosen[0]])], drawn, counts)
        return drawn, torch.lerp(nn.functional.one_hot(labels[where]).float(), soft, TEACHERS_SHARE)

    return draw


def row_batches(
    job: Job, rows: np.ndarray, labels: np.ndarray, folds: np.ndarray, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield batches of rows without end; an epoch shows at most ``CLASS_CAP`` of each class.

    Where fold networks teach, each batch is of one fold: the same networks have not seen it.
    """
    while True:
        shuffled = random.permutation(rows)
        kept = [shuffled[labels[shuffled] == name][:CLASS_CAP] for name in np.unique(labels[rows])]
        epoch = random.permutation(np.concatenate(kept))
        groups = [epoch[folds[epoch] == fold] for fold in np.unique(folds[epoch])]
        batches = [
            group[start : start + job.batch]
            for group in (groups if job.teachers else [epoch])
            for start in range(0, len(group) - job.batch + 1, job.batch)
        ]
        random.shuffle(batches)
        yield from batches


def fold_networks(
    folder: Path, classes: int, device: torch.device
) -> dict[int, list[LesionNetwork]]:
    """Load the networks that have not seen a fold, for each fold."""
    return {
        fold: [
            load_network(f"{attention}{BACKBONE}", folder / fold_name(attention, fold), classes).to(
                device
            )
            for attention in ATTENTIONS
        ]
        for fold in range(FOLDS)
    }


def load_network(model: str, path: Path, classes: int) -> LesionNetwork:
    """Load a network that a job has trained; ``path`` is without the ending of the file."""
    network = create_network(model, classes)
    network.load_state_dict(load_file(path.with_suffix(".safetensors")))
    return network.eval().to(memory_format=torch.channels_last)


@torch.no_grad()
def soft_labels(networks: list[LesionNetwork], images: Tensor, counts: Tensor) -> Tensor:
    """Return what networks say of images, at the classes' shares in training: (n, classes).

    The loss keeps the classes' shares out of the logits and adds them again for the student.
    """
    with _autocast(images.device):
        logits = torch.stack([network(images).float() for network in networks]).mean(0)
    shown = counts.clamp(max=CLASS_CAP)
    return torch.softmax(logits + (shown / shown.sum()).log(), 1)


def fit(
    network: LesionNetwork, draw: Draw, counts: Tensor, checkpoint: Path, job: Job
) -> LesionNetwork:
    """Train a network, or go on with it, and return the moving average of its weights.

    Parameters
    ----------
    counts : training images of each class, float32, on the network's device
    checkpoint : file that a stopped training goes on from; written on CPUs only
    """
    device = counts.device
    ema = ModelEmaV3(network, decay=job.ema_decay, use_warmup=True)
    learnt = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in learnt if weight.ndim > 1], "weight_decay": 0.05},
        {"params": [weight for weight in learnt if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=job.learning_rate, fused=True)
    parts = (network, ema, optimizer)
    steps, first = math.ceil(job.images / job.batch), 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        first = state["step"]
        for part, value in zip(parts, state["parts"], strict=True):
            part.load_state_dict(value)
    began = time.monotonic()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = job.learning_rate * _schedule(step / steps)
        network.train()
        images, targets = draw()
        with _autocast(device):
            logits = network(images).float()
        loss = class_loss(logits, targets, counts, "logit_adjusted", class_cap=CLASS_CAP)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        ema.update(network, step)
        if device.type == "cpu" and (step + 1) % CHECKPOINT_STEPS == 0:
            shown = (step + 1 - first) * job.batch / (time.monotonic() - began)
            said = f"loss {loss.item():.3f}, {shown:.1f} images/s"
            print(f"{job.name}: {step + 1}/{steps}, {said}", flush=True)
            with replacing_file(checkpoint) as scratch:
                saved = {"step": step + 1, "parts": [part.state_dict() for part in parts]}
                torch.save(saved, scratch)
    return ema.module.eval()


def steps_done(checkpoint: Path) -> int:
    """Return the step with which a training goes on."""
    return torch.load(checkpoint, weights_only=True)["step"] if checkpoint.is_file() else 0


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _schedule(progress: float, warmup: float = 0.1) -> float:
    if progress < warmup:
        return 0.04 + 0.96 * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


@torch.inference_mode()
def all_logits(network: LesionNetwork, images: PackedImages, rows: np.ndarray) -> np.ndarray:
    """Return logits of some images, as they are and mirrored: float32 (2, n, classes), else NaN."""
    found = np.full((2, len(images.labels), len(images.classes)), np.nan, np.float32)
    for start in range(0, len(rows), 256):
        chosen = rows[start : start + 256]
        seen = scale_pixels(images.pixels[torch.from_numpy(chosen).to(images.pixels.device)])
        views = torch.stack([network(seen), network(seen.flip(3))])
        found[:, chosen] = views.float().cpu().numpy()
    return found
