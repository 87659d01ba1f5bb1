"""The training loop: Lightning's Trainer, told what to keep and when to stop."""

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ProgressBar, RichProgressBar
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from doctor_derma.data.manifest import Dataset
from doctor_derma.errors import DermaError
from doctor_derma.training.batches import ImageBatches
from doctor_derma.training.checkpoints import (
    MovableCheckpoint,
    WholeCheckpoints,
    finished_epochs,
    remove_leftovers,
    weights_to_start_from,
)
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.epochs import EpochTable, OnEpoch, StopWhenDiverged
from doctor_derma.training.folds import parts_of
from doctor_derma.training.module import MONITOR, LesionModule, class_counts
from doctor_derma.training.runs import Run, has_ended, is_first_process, mark_ended

# Of a start from a bundle, for which batch normalisation is measured again.
STATISTICS_IMAGES = 512
# In the names of networks that are made of depthwise convolutions.
_DEPTHWISE = ("efficientnet", "mobilenet", "mnasnet", "convnext")


def train(run: Run, dataset: Dataset, on_epoch: OnEpoch | None = None) -> bool:
    """Train a run to its end, going on from its last checkpoint where there is one.

    After every epoch ``checkpoints/last.ckpt`` holds everything that going on needs, and
    ``checkpoints/best.ckpt`` the weights with the best validation balanced accuracy. A run that
    has come to its end, which early stopping may be, is left as it is. ``on_epoch`` is called in
    the first process with the epoch and its metrics.

    Returns
    -------
    True in the first process of the run, False in the others

    Raises
    ------
    DermaError
        When the data are not those the run began with, a split or class has no image, or the
        run goes on with another number of processes.
    """
    check_data(run, dataset)
    config = run.config
    trainer = make_trainer(
        run,
        [EpochTable(run.metrics_file, config.batch_size, on_epoch), RichProgressBar()],
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
    )
    try:
        fit(trainer, run, dataset)
    except SystemExit as stopped:  # Lightning's answer to Ctrl+C
        raise KeyboardInterrupt from stopped
    return trainer.is_global_zero


def fit(trainer: lightning.Trainer, run: Run, dataset: Dataset) -> None:
    """Train a run with a trainer of ``make_trainer``, from its last checkpoint on to its end."""
    if has_ended(run.folder):
        return
    config = run.config
    if is_first_process():
        remove_leftovers(run.checkpoints)
    resume = str(run.last_checkpoint) if run.last_checkpoint.is_file() else None
    lightning.seed_everything(config.seed, verbose=False)
    batches = ImageBatches(dataset, config)
    trained = dataset.table.iloc[batches.parts.train]
    counts = class_counts(dataset.targets(trained), len(dataset.classes))
    # A checkpoint holds every weight, so going on needs no hub.
    fresh = config.model_copy(update={"pretrained": False}) if resume else config
    aspect_ratio = float((dataset.table["width"] / dataset.table["height"]).median())
    module = LesionModule(fresh, counts, aspect_ratio)
    if (source := module.network.weights_source) and is_first_process():
        run.with_pretrained(asdict(source))
    if config.initial and not resume:
        sample = partial(batches.sample, STATISTICS_IMAGES)
        runs = run.folder.parent
        module.start_from(weights_to_start_from(config.initial, runs, config.model, sample))
    epochs = finished_epochs(run.last_checkpoint)
    # The first weights are the same everywhere, augmentation is not; and no epoch is drawn twice.
    if epochs or trainer.global_rank:
        sequence = np.random.SeedSequence([config.seed, epochs, trainer.global_rank])
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
        np.random.seed(sequence.generate_state(4))  # Mixup draws there.
    trainer.fit(module, datamodule=batches, ckpt_path=resume)
    if trainer.is_global_zero:
        mark_ended(run)


def make_trainer(
    run: Run, shown: list[Callback], plugins: Sequence[Any] = (), **devices: Any
) -> lightning.Trainer:
    """Build the trainer of a run, which keeps its checkpoints and knows when to stop.

    The callbacks in ``shown`` show and keep what an epoch measured; ``plugins`` and ``devices``
    are Lightning's, for where the run trains.
    """
    _quiet()
    config = run.config
    patience = math.ceil(config.patience / config.validate_every)
    # The last one runs last: what it keeps includes what the others did in that epoch.
    callbacks = [
        StopWhenDiverged(),
        *shown,
        EarlyStopping(MONITOR, mode="max", patience=patience),
        _checkpoint(run, "best", monitor=MONITOR, mode="max", save_weights_only=True),
        _checkpoint(run, "last", save_on_train_epoch_end=True),
    ]
    try:
        return lightning.Trainer(
            **devices,
            precision=trainer_precision(config),
            max_epochs=config.epochs,
            check_val_every_n_epoch=config.validate_every,
            # Capped classes are drawn anew each epoch.
            reload_dataloaders_every_n_epochs=int(config.class_cap > 0),
            callbacks=callbacks,
            plugins=[WholeCheckpoints(), *plugins],
            logger=False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in shown),
            default_root_dir=run.folder,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        reason = " ".join(str(error).split())
        raise DermaError(
            f"--accelerator {config.accelerator}, --devices {config.devices}: can't be had "
            f"({reason}); leave them out to take what is there"
        ) from error


def trainer_precision(config: TrainConfig) -> Literal["32-true", "bf16-mixed"]:
    """Return Lightning's precision for a recipe, bf16 where it is native and faster.

    On a processor it is slower for depthwise convolutions, of which some networks are made.
    """
    fast = config.precision == "bf16"
    if config.precision == "auto":
        if config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        elif config.accelerator in ("auto", "cpu"):
            depthwise = any(part in config.model for part in _DEPTHWISE)
            fast = not depthwise and torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if fast else "32-true"


def _checkpoint(run: Run, name: str, **options: Any) -> MovableCheckpoint:
    return MovableCheckpoint(
        dirpath=run.checkpoints, filename=name, enable_version_counter=False, **options
    )


def check_data(run: Run, dataset: Dataset) -> None:
    """Refuse data that are not those a run began with, or that lack a class in a part of it."""
    if run.info.data_fingerprint != dataset.fingerprint:
        raise DermaError(
            f"{dataset.folder}: not the data that run '{run.name}' began with; "
            "import those again, or start a new run"
        )
    parts = parts_of(dataset, run.config)
    for split, rows in (("train", parts.train), ("val", parts.val)):
        if len(rows) != run.info.images[split]:
            raise DermaError(
                f"run '{run.name}': its folds are dealt otherwise by this version of scikit-learn; "
                "go on with the one it began with, or start a new run"
            )
        present = set(dataset.table["class"].iloc[rows])
        if missing := [name for name in dataset.classes if name not in present]:
            left = f" without {run.config.leave_source_out}" if run.config.leave_source_out else ""
            raise DermaError(
                f"{dataset.folder}: class '{missing[0]}' has no image in the {split} split{left}; "
                "add images of it and import again"
            )


def _quiet() -> None:
    """Leave out what Lightning says on every start of things that are meant to be so."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for said in (
        "in eval mode at the start of training",  # The moving average always is.
        *("LeafSpec.*is deprecated", "does not have many workers", "Checkpoint directory.*exists"),
        "fewer than the logging interval",
    ):
        warnings.filterwarnings("ignore", message=f".*{said}.*")
