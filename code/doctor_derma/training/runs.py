"""A run on disk: its recipe, its metrics and its checkpoints, in one folder."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from doctor_derma._version import __version__
from doctor_derma.atomic import replacing_file
from doctor_derma.data.manifest import Dataset
from doctor_derma.errors import DermaError
from doctor_derma.training.config import TrainConfig, load_config
from doctor_derma.training.folds import parts_of

CONFIG_FILE = "config.yaml"
INFO_FILE = "run.json"
LOCK_FILE = "lock"
# In a run's folder once it has trained to its end. The name is from when only trials had one.
ENDED_FILE = "trial_ended"
RUN_VARIABLE = "DERMA_RUN"
_PATIENCE_SECONDS = 60
# A name is a folder of mlflow/runs/ and of evaluation_images/, where these mean something else.
_NAME = re.compile(r"[\w-][\w.-]*")
_TAKEN_NAMES = ("champion", "comparison", "seeds", "audits", "README.md")


@dataclass(frozen=True)
class RunInfo:
    """Where a run comes from; kept in ``run.json``."""

    name: str
    model: str
    created: str
    version: str
    git_commit: str
    data_name: str
    data_licence: str
    data_fingerprint: str
    images: dict[str, int]
    classes: list[str]
    tracking_id: str | None = None
    pretrained: dict[str, str] | None = None  # name, SHA-256 and licence of the first weights
    twin: str | None = None  # a run of the same recipe that has not seen one fold


@dataclass(frozen=True)
class Run:
    """A training run and the files it keeps."""

    folder: Path
    config: TrainConfig
    info: RunInfo

    @property
    def name(self) -> str:
        """Name of the run and of its folder."""
        return self.info.name

    @property
    def metrics_file(self) -> Path:
        """Metrics of each epoch, CSV."""
        return self.folder / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """State after the last finished epoch, from which the run is resumed."""
        return self.checkpoints / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """Weights of the epoch with the best balanced accuracy in validation."""
        return self.checkpoints / "best.ckpt"

    @property
    def bundle(self) -> Path:
        """Folder of the exported bundle."""
        return self.folder / "bundle"

    def with_tracking_id(self, tracking_id: str | None) -> "Run":
        """Remember under which id the run is tracked, so that a resumed run goes on there."""
        return self._with_info(tracking_id=tracking_id)

    def with_pretrained(self, source: dict[str, str]) -> "Run":
        """Remember which pretrained weights the run began with."""
        return self._with_info(pretrained=source)

    def with_twin(self, name: str) -> "Run":
        """Remember the run that has not seen a fold of the images this one is trained on."""
        return self._with_info(twin=name)

    def _with_info(self, **changes: Any) -> "Run":
        run = replace(self, info=replace(self.info, **changes))
        _write_info(run)
        return run

    def with_config(self, config: TrainConfig) -> "Run":
        """Go on with another recipe from now on."""
        run = replace(self, config=config)
        _write_config(run)
        return run


class RunIsBusy(DermaError):  # noqa: N818
    """Another process trains the run."""


class RunIsStopped(DermaError):  # noqa: N818
    """Training stopped for a reason outside of the run, which can go on from where it was."""


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Keep other calls out of a run, with `RunIsBusy`; a killed process lets go of it."""
    with (run.folder / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunIsBusy(
                f"{run.folder}: another process trains this run; wait for it, or stop it first"
            ) from error
        yield


def mark_ended(run: Run) -> None:
    """Note that a run has trained to its end, which early stopping may be."""
    (run.folder / ENDED_FILE).touch()


def has_ended(folder: Path) -> bool:
    """Tell whether the run of a folder has trained to its end."""
    return (folder / ENDED_FILE).is_file()


def is_first_process() -> bool:
    """Tell whether this is the first process of a run, the one that writes and tracks."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(variable, "0") == "0" for variable in ranks)


def create_run(folder: Path, config: TrainConfig, dataset: Dataset, name: str | None) -> Run:
    """Make the folder of a new run, or open it in all but the first of several processes.

    On one machine those find the name in the environment; on several give a name, and a
    ``folder`` that all of them see.

    Raises
    ------
    DermaError
        When the name can't be a folder's or is taken, or the first process doesn't make it in time.
    """
    if not is_first_process():
        return _await_run(folder, os.environ.get(RUN_VARIABLE) or name)
    name = name or f"{config.model.replace('/', '-')}-{datetime.now():%Y%m%d-%H%M%S}"
    # Some file systems take Seeds for seeds.
    if not _NAME.fullmatch(name) or name.lower() in map(str.lower, _TAKEN_NAMES):
        raise DermaError(
            f"--name {name}: not a name for a run; use letters, digits, '.', '-' and '_', "
            f"and none of {', '.join(_TAKEN_NAMES)}"
        )
    parts = parts_of(dataset, config)
    info = RunInfo(
        name=name,
        model=config.model,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        git_commit=git_commit(),
        data_name=dataset.info.name,
        data_licence=dataset.info.licence,
        data_fingerprint=dataset.fingerprint,
        images={
            "train": len(parts.train),
            "val": len(parts.val),
            "test": int((dataset.table["split"] == "test").sum()),
        },
        classes=list(dataset.classes),
    )
    run = Run(folder / name, config, info)
    try:
        run.folder.mkdir(parents=True)
    except FileExistsError as error:
        raise DermaError(
            f"{run.folder}: a run of that name exists; choose another --name, "
            f"or continue it with --resume {name}"
        ) from error
    os.environ[RUN_VARIABLE] = name
    try:
        run.checkpoints.mkdir()
        _write_config(run)
        _write_info(run)
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return run


def _await_run(folder: Path, name: str | None) -> Run:
    if name is None:
        raise DermaError("--name: missing; training on several machines needs the same name on all")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (folder / name / INFO_FILE).is_file():
        if time.monotonic() > deadline:
            raise DermaError(f"{folder / name}: the first process has not made it; is it shared?")
        time.sleep(0.2)
    return open_run(folder, name)


def open_run(folder: Path, reference: str) -> Run:
    """Open a run by its name, or by the path of its folder.

    Raises
    ------
    DermaError
        When there is no such run, or its files can't be read.
    """
    places = (folder / reference, Path(reference))
    run_folder = next((place for place in places if (place / INFO_FILE).is_file()), None)
    if run_folder is None:
        known = sorted(path.parent.name for path in folder.glob(f"*/{INFO_FILE}"))
        there = f"the runs are {', '.join(known)}" if known else "none was trained yet"
        raise DermaError(f"{folder / reference}: no such run; {there}")
    try:
        info = RunInfo(**json.loads((run_folder / INFO_FILE).read_text()))
    except (ValueError, TypeError) as error:
        raise DermaError(f"{run_folder / INFO_FILE}: damaged ({error}); train again") from error
    return Run(run_folder, load_config(run_folder / CONFIG_FILE, {}, warn=False), info)


def git_commit() -> str:
    """Return the commit of this checkout, with ``-dirty`` for local changes, or ``unknown``."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _write_config(run: Run) -> None:
    with replacing_file(run.folder / CONFIG_FILE) as scratch:
        scratch.write_text(yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False))


def _write_info(run: Run) -> None:
    with replacing_file(run.folder / INFO_FILE) as scratch:
        scratch.write_text(json.dumps(asdict(run.info), indent=2) + "\n")
