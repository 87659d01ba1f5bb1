"""From the refined networks to runs and bundles, in fp32 and in 8 bits."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch

from doctor_derma.atomic import replacing_own_folder
from doctor_derma.bundle import (
    INFO_FILE,
    PROBABILITIES,
    Weights,
    file_sha256,
    read_info,
    write_info,
)
from doctor_derma.commands.publishing import export
from doctor_derma.data.cache import pixel_cache
from doctor_derma.data.manifest import read_dataset
from doctor_derma.export.int8 import quantize_int8
from doctor_derma.export.onnx import run_graph
from doctor_derma.export.quantization import parity_of, range_rows, round_matrices
from doctor_derma.models.weights import find_weights
from doctor_derma.training.config import Size
from doctor_derma.training.runs import create_run
from doctor_derma.workspace import Workspace
from jobs import RECIPES, refine_jobs
from judging import weights_between
from packed import BACKBONE, FOLDS, SIZE
from training import CLASS_CAP, MIXUP

SHIPPED_SHARE = 0.5  # Of the last steps: the best mean of both balanced accuracies of the twin.


def ship(folder: Path, root: Path, name: str) -> None:
    """Make runs and bundles of the shipped network, which is in int8 as well, and of its twin."""
    workspace = Workspace.find() if root == Path() else Workspace(root)
    dataset = read_dataset(workspace.data)
    last, twin = refine_jobs()
    source = find_weights(f"tf_{BACKBONE}")[1]
    for job, run_name in ((twin, f"{name}-fold0"), (last, name)):
        config = RECIPES[job.recipe].model_copy(
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
                "mixup": MIXUP,
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
        weights = weights_between(folder, job, SHIPPED_SHARE)
        state = {f"ema.module.{key}": value for key, value in weights.items()}
        torch.save({"epoch": 0, "state_dict": state}, run.best_checkpoint)
        print(f"Bundle: {export(run, dataset)}", flush=True)
    print(f"Bundle: {export(run, dataset, precision='int8')}", flush=True)


def quantize_shipped(root: Path) -> None:
    """Write the shipped bundle in 8 bits, with all that was fitted to the fp32 network.

    For when the runs are gone. ``ship`` is better: it fits to what the quantized twin says of
    images that it has not seen. The bundle has no metrics until it is evaluated.
    """
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
