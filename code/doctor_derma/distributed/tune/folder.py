"""A sweep on disk: its settings, what Tune needs to go on, and its results, in one folder."""

import json
import re
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import yaml

from doctor_derma.atomic import replacing_file
from doctor_derma.distributed.tune.sweep import Sweep, read_sweep
from doctor_derma.errors import DermaError
from doctor_derma.training.runs import git_commit
from doctor_derma.workspace import Workspace

SWEEP_FILE = "sweep.yaml"
INFO_FILE = "sweep.json"
_NAME = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True)
class SweepInfo:
    """Where a sweep comes from; kept in ``sweep.json``."""

    name: str
    created: str
    git_commit: str
    data_name: str
    data_fingerprint: str
    tracking_id: str | None = None


@dataclass(frozen=True)
class SweepFolder:
    """A sweep and the files it keeps."""

    folder: Path
    sweep: Sweep
    info: SweepInfo

    @property
    def name(self) -> str:
        """Name of the sweep and of its folder."""
        return self.info.name

    @property
    def tune(self) -> Path:
        """The folder that Ray Tune writes, and goes on from."""
        return self.folder / "tune"

    @property
    def best_file(self) -> Path:
        """The recipe of the best trial, YAML."""
        return self.folder / "best.yaml"

    @property
    def table_file(self) -> Path:
        """All trials with their settings and scores, CSV."""
        return self.folder / "trials.csv"

    @property
    def plot_file(self) -> Path:
        """The plot of the trials, PNG."""
        return self.folder / "trials.png"

    def remember_tracking_id(self, tracking_id: str | None) -> None:
        """Keep under which id the sweep is tracked, so that a resumed one goes on there."""
        _write_info(self.folder, replace(self.info, tracking_id=tracking_id))


def create_sweep(
    workspace: Workspace, sweep: Sweep, name: str | None, data_name: str, fingerprint: str
) -> SweepFolder:
    """Make the folder of a new sweep.

    Raises a DermaError when the name can't be a folder's, or a sweep or trials of it exist.
    """
    name = name or f"sweep-{datetime.now():%Y%m%d-%H%M%S}"
    if not _NAME.fullmatch(name):
        raise DermaError(
            f"--name {name}: not a name for a sweep; use letters, digits, '.', '-', '_'"
        )
    folder = workspace.sweeps / name
    if folder.exists():
        raise DermaError(
            f"{folder}: exists; go on with 'derma tune --resume {name}', or choose another --name"
        )
    if taken := sorted(workspace.runs.glob(f"{name}_[0-9]*")):
        raise DermaError(f"{taken[0]}: a run has the name of a trial; choose another --name")
    info = SweepInfo(
        name=name,
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        git_commit=git_commit(),
        data_name=data_name,
        data_fingerprint=fingerprint,
    )
    with replacing_file(folder / SWEEP_FILE) as scratch:
        scratch.write_text(yaml.safe_dump(sweep.written(), sort_keys=False))
    _write_info(folder, info)
    return SweepFolder(folder, sweep, info)


def open_sweep(workspace: Workspace, name: str) -> SweepFolder:
    """Open a sweep by its name; a DermaError says that there is none, or it can't be read."""
    folder = workspace.sweeps / name
    path = folder / INFO_FILE
    if not path.is_file():
        known = sorted(found.parent.name for found in workspace.sweeps.glob(f"*/{INFO_FILE}"))
        there = f"the sweeps are {', '.join(known)}" if known else "none was begun yet"
        raise DermaError(f"{folder}: no such sweep; {there}")
    try:
        info = SweepInfo(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise DermaError(f"{path}: damaged ({error}); begin a new sweep") from error
    return SweepFolder(folder, read_sweep(folder / SWEEP_FILE), info)


def _write_info(folder: Path, info: SweepInfo) -> None:
    with replacing_file(folder / INFO_FILE) as scratch:
        scratch.write_text(json.dumps(asdict(info), indent=2) + "\n")
