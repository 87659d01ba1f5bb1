"""The shipped network again: five folds teach one student, which then learns other cameras.

    python code/champion.py pack               # the images and the weights, in one folder
    python code/champion.py search             # which augmentation holds on a source left out
    python code/champion.py folds              # plain, SE and ECA networks, one a fold
    python code/champion.py student            # one network out of many, and a plain refit
    python code/champion.py refine             # the student goes on with strong augmentation
    python code/champion.py ship               # a bundle; `make champion` does all of it
    python code/champion.py int8               # the shipped bundle in 8 bits, thresholds kept
    python code/champion.py all --seconds 540  # search, folds and student on a GPU, in that time

Every network is a job with a file of its own under ``champion/``: what is there is not trained
again, and a job that was stopped goes on from its last checkpoint. ``--workers`` of them train side
by side. ``docs/experiments.md`` has what came of it.
"""

import argparse
import math
import multiprocessing
import queue
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from timm.data.mixup import Mixup
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from doctor_derma.cpus import usable_cpus
from doctor_derma.images.decoding import decode
from doctor_derma.models.networks import LesionNetwork, create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.augmentation import augment
from doctor_derma.training.config import Size, TrainConfig
from doctor_derma.training.folds import assign_folds
from doctor_derma.training.module import class_loss

SIZE = (144, 192)
# Of the pictures over that of their pixels, which are kept in the pictures' own shape.
ASPECT_RATIO = 4 / 3
FOLDS = 5
STUDENT_FOLDS = 2  # So many students are trained without a fold, to say how sure students are.
SEARCH_IMAGES = 50_000
ATTENTIONS = ("", "se_", "eca_")
BACKBONE = "efficientnet_lite0"
CLASS_CAP = 1800
TEACHERS_SHARE = 0.7  # Of the loss of a student; the rest is what the image is labelled as.
CHECKPOINT_STEPS = 50
FROZEN_STAGES = 3

MILD = TrainConfig(zoom=1.3, zoom_out=0.6, aspect=1.2, colour=0.2, cast=0.05, noise=0.1, cutout=0.3)
STRONG = TrainConfig(
    **{"zoom": 1.5, "zoom_out": 0.6, "aspect": 1.25, "colour": 0.4, "cast": 0.25, "gamma": 1.5},
    **{"vignette": 0.25, "hair": 0.25, "ruler": 0.15, "bubbles": 0.1, "blur": 0.25},
    **{"noise": 0.2, "jpeg": 0.2, "cutout": 0.2},
)
# Half of a batch each way: what is best at home, and what holds on other cameras.
RECIPES = {"mild": (MILD,), "strong": (STRONG,), "mixed": (MILD, STRONG)}


@dataclass(frozen=True)
class Job:
    """One network to train.

    Attributes
    ----------
    name : of its files
    model : the network, see ``create_network``
    recipe : of ``RECIPES``
    images : how many images training shows, all repetitions counted
    left_out : ``fold:2`` or ``source:rosendahl``, whose images it never sees; empty for none
    teachers : whether it learns from the fold networks as well
    frozen : whether stem and first three stages stay as they are
    start : job whose weights it goes on from; ImageNet's when empty
    """

    name: str
    model: str
    recipe: str
    images: int
    left_out: str = ""
    teachers: bool = False
    frozen: bool = False
    start: str = ""
    batch: int = 128
    learning_rate: float = 1e-3
    ema_decay: float = 0.995
    seed: int = 0


class Data:
    """The packed images: pixels, labels and what else is known, in the manifest's order."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.table = pd.read_csv(folder / "images.csv", keep_default_na=False)
        self.classes = sorted(self.table["class"].unique())
        labels = np.array([self.classes.index(name) for name in self.table["class"]])
        self.labels = torch.from_numpy(labels).to(device)
        self.pixels = torch.from_numpy(_pixels(folder)).to(device)
        self.folds = np.full(len(labels), -1)  # The test split is in no fold.
        rows = np.flatnonzero(self.table["split"] != "test")
        known = self.table.iloc[rows]
        self.folds[rows] = assign_folds(list(known["class"]), list(known["lesion"]), FOLDS, seed=0)

    def training_rows(self, job: Job) -> np.ndarray:
        """Return the rows that a job may learn from: never those of the test split."""
        kind, _, value = job.left_out.partition(":")
        kept = self.folds >= 0
        if kind == "fold":
            kept &= self.folds != int(value)
        elif kind == "source":
            kept &= (self.table["source"] != value).to_numpy()
        return np.flatnonzero(kept)


def train_job(job: Job, data: Data, folder: Path, device: torch.device) -> str:
    """Train a network, or go on with it, and keep its weights and its logits of every image."""
    done, checkpoint = folder / f"{job.name}.npz", folder / f"{job.name}.ckpt"
    if done.is_file():
        return f"{job.name}: done before"
    torch.manual_seed(job.seed)
    random = np.random.default_rng(job.seed)
    rows = data.training_rows(job)
    labels = data.labels.cpu().numpy()
    counts = torch.bincount(data.labels[rows], minlength=len(data.classes)).float()
    network = create_network(
        job.model,
        len(counts),
        pretrained=True,
        weights=_weights(folder),
        dropout=0.2,
        drop_path=0.1,
    ).to(device, memory_format=torch.channels_last)
    if job.start:
        network.load_state_dict(load_file(folder / f"{job.start}.safetensors"))
    if job.frozen:
        network.freeze(FROZEN_STAGES)
    teachers = _teachers(folder, len(counts), device) if job.teachers else {}
    ema = ModelEmaV3(network, decay=job.ema_decay, use_warmup=True)
    learnt = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in learnt if weight.ndim > 1], "weight_decay": 0.05},
        {"params": [weight for weight in learnt if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=job.learning_rate, fused=True)
    mixup = Mixup(0.2, num_classes=len(counts), label_smoothing=0.0)
    steps, first = math.ceil(job.images / job.batch), 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=False)
        first = state["step"]
        for part, value in zip((network, ema, optimizer), state["parts"], strict=True):
            part.load_state_dict(value)
        random = np.random.default_rng([job.seed, first])
    began, batches = time.monotonic(), row_batches(job, rows, labels, data.folds, random)
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = job.learning_rate * _schedule(step / steps)
        network.train()
        chosen = next(batches)
        where = torch.from_numpy(chosen).to(device)
        images = augment_batch(data.pixels[where], job.recipe)
        targets: Tensor = data.labels[where]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if teachers:
                soft = _soft_labels(teachers[int(data.folds[chosen[0]])], images, counts)
            else:
                images, targets = mixup(images, targets)
            logits = network(images).float()
        loss = _loss(logits, targets, counts)
        if teachers:
            loss = torch.lerp(loss, _loss(logits, soft, counts), TEACHERS_SHARE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        ema.update(network, step)
        if device.type == "cpu" and (step + 1) % CHECKPOINT_STEPS == 0:
            shown = (step + 1 - first) * job.batch / (time.monotonic() - began)
            print(f"{job.name}: {step + 1}/{steps}, {shown:.1f} images/s", flush=True)
            parts = [part.state_dict() for part in (network, ema, optimizer)]
            torch.save({"step": step + 1, "parts": parts}, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").rename(checkpoint)
    seconds = time.monotonic() - began
    averaged = ema.module.eval()
    save_file(
        {name: value.contiguous() for name, value in averaged.state_dict().items()},
        folder / f"{job.name}.safetensors",
    )
    scratch = folder / f"{job.name}.tmp.npz"
    np.savez(
        scratch,
        logits=all_logits(averaged, data, np.setdiff1d(np.arange(len(labels)), rows)),
        trained_on=np.isin(np.arange(len(labels)), rows),
        loss=loss.item(),
        seconds=seconds,
    )
    scratch.rename(done)
    checkpoint.unlink(missing_ok=True)
    shown = (steps - first) * job.batch / max(seconds, 1e-9)
    return f"{job.name}: {seconds:.0f} s, {shown:.0f} images/s, loss {loss.item():.3f}"


def augment_batch(pixels: Tensor, recipe: str) -> Tensor:
    """Draw augmented images as a recipe of ``RECIPES`` says, each of its settings for one share."""
    settings = RECIPES[recipe]
    parts = zip(pixels.tensor_split(len(settings)), settings, strict=True)
    images = [augment(part, SIZE, config, ASPECT_RATIO) for part, config in parts]
    return torch.cat(images).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def all_logits(network: LesionNetwork, data: Data, rows: np.ndarray) -> np.ndarray:
    """Return logits of some images, as they are and mirrored: float32 (2, n, classes), else NaN."""
    found = np.full((2, len(data.pixels), len(data.classes)), np.nan, np.float32)
    for start in range(0, len(rows), 256):
        chosen = rows[start : start + 256]
        images = scale_pixels(data.pixels[torch.from_numpy(chosen).to(data.pixels.device)])
        views = torch.stack([network(images), network(images.flip(3))])
        found[:, chosen] = views.float().cpu().numpy()
    return found


class Pool:
    """Processes that train jobs, so many side by side."""

    def __init__(self, folder: Path, workers: int) -> None:
        _pixels(folder)  # Decoded once, not by every worker.
        context = multiprocessing.get_context("spawn")
        self.waiting, self.finished = context.Queue(), context.Queue()
        arguments = (self.waiting, self.finished, folder)
        self.processes = [
            context.Process(target=_work, args=arguments, daemon=True) for _ in range(workers)
        ]
        for process in self.processes:
            process.start()
        self.began = time.monotonic()

    def train(self, jobs: list[Job]) -> None:
        """Train jobs, and say of each when it is done."""
        for job in jobs:
            self.waiting.put(job)
        for count in range(1, len(jobs) + 1):
            said = self._next()
            seconds = time.monotonic() - self.began
            print(f"[{seconds:4.0f} s] {count}/{len(jobs)} {said}", flush=True)

    def _next(self) -> str:
        while True:
            try:
                return self.finished.get(timeout=10)
            except queue.Empty:
                # A worker that was killed says nothing, and nobody would say what it had to.
                if not all(process.is_alive() for process in self.processes):
                    raise SystemExit("a worker has died; run the same command to go on") from None


def _work(waiting, finished, folder: Path) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    data = Data(folder, device)
    while (job := waiting.get()) is not None:
        try:
            finished.put(train_job(job, data, folder, device))
        except Exception as error:  # the others go on
            finished.put(f"{job.name}: FAILED {type(error).__name__}: {error}")


def row_batches(job, rows, labels, folds, random):
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


def _loss(logits: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    return class_loss(logits, targets, counts, "logit_adjusted", class_cap=CLASS_CAP)


@torch.no_grad()
def _soft_labels(networks: list[LesionNetwork], images: Tensor, counts: Tensor) -> Tensor:
    """Return what networks that have not seen the images say of the views that the student sees."""
    logits = torch.stack([network(images).float() for network in networks]).mean(0)
    shown = counts.clamp(max=CLASS_CAP)
    return torch.softmax(logits + (shown / shown.sum()).log(), 1)


def _teachers(folder: Path, classes: int, device: torch.device) -> dict[int, list[LesionNetwork]]:
    return {
        fold: [
            load_network(
                f"{attention}{BACKBONE}", folder / f"{attention}fold{fold}", classes, device
            )
            for attention in ATTENTIONS
        ]
        for fold in range(FOLDS)
    }


def load_network(model: str, path: Path, classes: int, device: torch.device) -> LesionNetwork:
    """Load a network that a job has trained."""
    network = create_network(model, classes)
    network.load_state_dict(load_file(path.with_suffix(".safetensors")))
    return network.eval().to(device, memory_format=torch.channels_last)


def _schedule(progress: float, warmup: float = 0.1) -> float:
    if progress < warmup:
        return 0.04 + 0.96 * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def _weights(folder: Path) -> Path | None:
    packed = folder / "imagenet.safetensors"
    return packed if packed.is_file() else None


def _pixels(folder: Path) -> np.ndarray:
    """Decode the packed images once, into ``pixels.npy``."""
    path = folder / "pixels.npy"
    if not path.is_file():
        with zipfile.ZipFile(folder / "images.zip") as archive:
            encoded = [archive.read(name) for name in archive.namelist()]
        with ThreadPoolExecutor(usable_cpus()) as pool:
            found = list(pool.map(lambda one: decode(one, *SIZE).pixels, encoded))
        np.save(folder / "scratch.npy", np.stack(found))
        (folder / "scratch.npy").rename(path)
    return np.load(path)


def pack(folder: Path, root: Path) -> None:
    """Put the encoded images, their table and ImageNet's weights into one folder.

    The weights are in half precision: a network starts with them to three digits, and the folder
    stays small enough for a thin line.
    """
    from doctor_derma.data.manifest import read_dataset

    dataset = read_dataset(root / "data")
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["image", "lesion", "class", "split", "source"]
    dataset.table[columns].to_csv(folder / "images.csv", index=False)
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_STORED) as archive:
        for index, path in enumerate(dataset.table["path"]):
            archive.writestr(f"{index:05}", (dataset.folder / path).read_bytes())
    plain = create_network(BACKBONE, 2, pretrained=True)
    halves = {
        name: value.half() if value.is_floating_point() else value
        for name, value in plain.backbone.state_dict().items()
    }
    save_file(halves, folder / "imagenet.safetensors")


def search_jobs(images: int) -> list[Job]:
    """Each augmentation, trained without one of the three large sources."""
    kinds = {"mild": ("mild", False), "strong": ("strong", False)}
    return [
        Job(
            f"search-{kind}-{source}",
            f"eca_{BACKBONE}",
            recipe,
            images,
            left_out=f"source:{source}",
            frozen=frozen,
        )
        for source in ("rosendahl", "vidir_modern", "vidir_molemax")
        for kind, (recipe, frozen) in kinds.items()
    ]


def fold_jobs(images: int, recipe: str) -> list[Job]:
    """Plain, SE and ECA networks, one a fold."""
    return [
        Job(f"{attention}fold{fold}", f"{attention}{BACKBONE}", recipe, images, f"fold:{fold}")
        for fold in range(FOLDS)
        for attention in ATTENTIONS
    ]


def student_jobs(images: int, recipe: str, attention: str) -> list[Job]:
    """The student, the same without teachers, and one a fold that says how sure students are."""
    student = Job("student", f"{attention}{BACKBONE}", recipe, images, teachers=True)
    return [
        student,
        replace(student, name="refit", teachers=False, images=images // 2),
        *(
            replace(
                student,
                name=f"student-fold{fold}",
                images=round(0.7 * images),
                left_out=f"fold:{fold}",
            )
            for fold in range(STUDENT_FOLDS)
        ),
    ]


def refine_jobs(images: int) -> list[Job]:
    """The student goes on in small steps, and so does its twin without a fold.

    Stem and first three stages stay as they are, which is twice as fast on a processor.
    """
    last = Job(
        "champion",
        f"eca_{BACKBONE}",
        "strong",
        images,
        frozen=True,
        start="student",
        batch=32,
        learning_rate=4e-4,
        ema_decay=0.998,
    )
    return [
        last,
        replace(last, name="champion-fold0", left_out="fold:0", start="student-fold0"),
    ]


def summarise(folder: Path, jobs: list[Job]) -> pd.DataFrame:
    """Say how well each job does on what it was kept from, the test split excepted."""
    from sklearn.metrics import recall_score, roc_auc_score

    data = pd.read_csv(folder / "images.csv", keep_default_na=False)
    classes = sorted(data["class"].unique())
    labels = np.array([classes.index(name) for name in data["class"]])
    mel, nv = classes.index("mel"), classes.index("nv")
    rows = []
    for job in jobs:
        path = folder / f"{job.name}.npz"
        if not path.is_file():
            continue
        found = np.load(path)
        judged = ~found["trained_on"] & (data["split"] != "test").to_numpy()
        if not judged.any():
            continue
        logits, truth = found["logits"][:, judged], labels[judged]
        counted = [k for k in range(len(classes)) if (truth == k).sum() > 20]
        one, both = logits[0], logits.mean(0)
        recalls = [
            recall_score(truth, view.argmax(1), labels=counted, average=None)
            for view in (one, both)
        ]
        aucs = [
            roc_auc_score(truth == k, one[:, k] - np.log(np.exp(np.delete(one, k, 1)).sum(1)))
            for k in counted
        ]
        pair = np.isin(truth, [mel, nv])
        melanoma = roc_auc_score(truth[pair] == mel, one[pair, mel] - one[pair, nv])
        rows.append(
            {
                "job": job.name,
                "images": int(judged.sum()),
                "balanced_accuracy": recalls[0].mean(),
                "two_views": recalls[1].mean(),
                "macro_auc": np.mean(aucs),
                "mel_nv_auc": melanoma,
                "seconds": float(found["seconds"]),
            }
        )
    return pd.DataFrame(rows)


def halfway(start: dict[str, Tensor], end: dict[str, Tensor]) -> dict[str, Tensor]:
    """Average the weights before and after the last steps.

    The last steps make a network robust and cost it some of what it knew; in the middle most of
    both is left (M. Wortsman et al.: Robust fine-tuning of zero-shot models. CVPR 2022,
    arXiv:2109.01903).
    """
    return {
        name: (value + end[name]) / 2 if value.is_floating_point() else end[name]
        for name, value in start.items()
    }


def ship(folder: Path, root: Path, name: str, jobs: list[Job]) -> None:
    """Make runs of the last two networks, and a bundle of the first: in fp32, and in int8."""
    from doctor_derma.commands.publishing import export
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.models.weights import find_weights
    from doctor_derma.training.runs import create_run
    from doctor_derma.workspace import Workspace

    workspace = Workspace.find() if root == Path() else Workspace(root)
    dataset = read_dataset(workspace.data)
    last, twin = jobs
    source = find_weights(f"tf_{BACKBONE}")[1]
    for job, run_name in ((twin, f"{name}-fold0"), (last, name)):
        config = RECIPES[job.recipe][-1].model_copy(
            update={
                "model": job.model,
                "pretrained": True,
                "image_size": Size(*SIZE),
                "train_size": Size(*SIZE),
                "start_size": Size(*SIZE),
                "epochs": 1,
                "batch_size": job.batch,
                "learning_rate": job.learning_rate,
                "ema_decay": job.ema_decay,
                "class_cap": CLASS_CAP,
                "mixup": 0.2,
                "dropout": 0.2,
                "drop_path": 0.1,
                "prior_weight": 1.0,
                **({"folds": FOLDS, "fold": 0} if job.left_out else {"refit": True}),
            }
        )
        run = create_run(workspace.runs, config, dataset, run_name)
        run = run.with_pretrained(asdict(source))
        if job is last:
            run = run.with_twin(f"{name}-fold0")
        before, after = (load_file(folder / f"{of}.safetensors") for of in (job.start, job.name))
        weights = halfway(before, after)
        state = {f"ema.module.{key}": value for key, value in weights.items()}
        torch.save({"epoch": 0, "state_dict": state}, run.best_checkpoint)
        print(f"Bundle: {export(run, dataset)}", flush=True)
    print(f"Bundle: {export(run, dataset, precision='int8')}", flush=True)


def quantize_shipped(root: Path) -> None:
    """Write the shipped bundle in 8 bits, with all that was fitted to the fp32 network.

    For where the runs are gone: ``ship`` fits to what the quantized twin says of images that it has
    not seen. The bundle so has no metrics until it was evaluated.
    """
    import onnx

    from doctor_derma.atomic import replacing_own_folder
    from doctor_derma.bundle import (
        INFO_FILE,
        PROBABILITIES,
        Weights,
        file_sha256,
        read_info,
        write_info,
    )
    from doctor_derma.data.cache import pixel_cache
    from doctor_derma.data.manifest import read_dataset
    from doctor_derma.export.int8 import quantize_int8
    from doctor_derma.export.onnx import run_graph
    from doctor_derma.export.quantization import parity_of, range_rows, round_matrices
    from doctor_derma.workspace import Workspace

    workspace = Workspace.find() if root == Path() else Workspace(root)
    dataset, source = read_dataset(workspace.data), workspace.champion
    info = read_info(source)
    pixels = pixel_cache(dataset, info.input.height, info.input.width)
    targets = np.array(dataset.targets(dataset.table))
    rows = np.flatnonzero(dataset.table["split"] != "test")
    shown = range_rows(rows, targets)
    graph = onnx.load(source / info.weights.file)
    model = round_matrices(quantize_int8(graph, [pixels[row] for row in shown]))
    shuffled = np.random.default_rng(0).permutation(rows)
    compared = shuffled[~np.isin(shuffled, shown)][:2000]
    [before] = run_graph(source / info.weights.file, pixels, compared, (PROBABILITIES,))
    [after] = run_graph(model, pixels, compared, (PROBABILITIES,))
    parity = parity_of(before, after)
    target = source.with_name(f"{source.name}-int8")
    with replacing_own_folder(target, INFO_FILE) as written:
        path = written / info.weights.file
        onnx.save(model, path)
        weights = Weights(sha256=file_sha256(path), bytes=path.stat().st_size, precision="int8")
        name = f"{info.name}-int8"
        created = datetime.now(UTC).isoformat(timespec="seconds")
        changed = {"name": name, "run": name, "created": created, "metrics": {}}
        changed |= {"weights": weights, "parity": parity}
        write_info(written, info.model_copy(update=changed))
    print(f"{target}: {parity}", flush=True)


def everything(folder: Path, workers: int, seconds: float, results: Path | None) -> None:
    """Search, folds and student one after the other, each as long as the time allows."""
    deadline = time.monotonic() + seconds
    pool = Pool(folder, workers)

    def stage(name: str, jobs: list[Job], passes: float = 1.0) -> tuple[pd.DataFrame, float]:
        began = time.monotonic()
        pool.train(jobs)
        table = summarise(folder, jobs)
        table.to_csv(folder / f"{name}.csv", index=False)
        print(table.round(3).to_string(index=False), flush=True)
        rate = sum(job.images for job in jobs) / (time.monotonic() - began)
        left = deadline - time.monotonic()
        print(f"{name}: {rate:.0f} images/s, {left:.0f} s left", flush=True)
        if results:
            collect(folder, results)
        return table, rate

    table, rate = stage("search", search_jobs(SEARCH_IMAGES))
    table["kind"] = table["job"].str.split("-").str[1]
    recipe = str(table.groupby("kind")["balanced_accuracy"].mean().idxmax())
    print(f"recipe: {recipe}", flush=True)
    budget = 0.5 * rate * (deadline - time.monotonic())
    _, rate = stage("folds", fold_jobs(int(np.clip(budget / 15, 30_000, 130_000)), recipe))
    # A step of a student costs 1.6 of another network's, as three teachers look at its images.
    budget = 0.8 * rate * (deadline - time.monotonic() - 15)
    stage("student", student_jobs(int(np.clip(budget / 4.3, 30_000, 500_000)), recipe, "eca_"))


def collect(folder: Path, results: Path) -> None:
    """Put what came of the jobs where it is small enough to be sent: weights in half precision."""
    results.mkdir(parents=True, exist_ok=True)
    logits = {path.stem: np.load(path) for path in sorted(folder.glob("*.npz"))}
    np.savez_compressed(
        results / "logits.npz",
        **{f"{name}:logits": found["logits"].astype(np.float16) for name, found in logits.items()},
        **{
            f"{name}:trained_on": np.packbits(found["trained_on"]) for name, found in logits.items()
        },
        **{f"{name}:seconds": found["seconds"] for name, found in logits.items()},
    )
    for path in folder.glob("*.csv"):
        if path.stem in ("search", "folds", "student"):
            (results / path.name).write_bytes(path.read_bytes())
    student = folder / "student.safetensors"
    if student.is_file():
        (results / student.name).write_bytes(student.read_bytes())
    wanted = {
        "sources": ["search-strong-rosendahl", "search-mild-rosendahl"],
        "others": ["refit", "student-fold0"],
    }
    for archive, names in wanted.items():
        files = [folder / f"{name}.safetensors" for name in names]
        weights = {
            f"{path.stem}:{name}": value.half() if value.is_floating_point() else value
            for path in files
            if path.is_file()
            for name, value in load_file(path).items()
        }
        if weights:
            save_file(weights, results / f"{archive}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "step", choices=("pack", "search", "folds", "student", "refine", "ship", "int8", "all")
    )
    parser.add_argument("--folder", type=Path, default=Path("champion"))
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--images", type=int, default=160_000)
    parser.add_argument("--recipe", choices=RECIPES, default="strong")
    parser.add_argument("--attention", choices=ATTENTIONS, default="eca_")
    parser.add_argument("--workers", type=int, default=8 if torch.cuda.is_available() else 2)
    parser.add_argument("--name", default="eca_lite0", help="of the shipped run")
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--results", type=Path)
    chosen = parser.parse_args()
    if chosen.step == "all":
        everything(chosen.folder, chosen.workers, chosen.seconds, chosen.results)
        return
    if chosen.step == "pack":
        pack(chosen.folder, chosen.root)
        return
    if chosen.step == "int8":
        quantize_shipped(chosen.root)
        return
    if chosen.step == "ship":
        ship(chosen.folder, chosen.root, chosen.name, refine_jobs(chosen.images))
        return
    jobs = {
        "search": search_jobs(chosen.images),
        "folds": fold_jobs(chosen.images, chosen.recipe),
        "refine": refine_jobs(chosen.images),
        "student": student_jobs(chosen.images, chosen.recipe, chosen.attention),
    }[chosen.step]
    Pool(chosen.folder, chosen.workers).train(jobs)
    table = summarise(chosen.folder, jobs)
    table.to_csv(chosen.folder / f"{chosen.step}.csv", index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
