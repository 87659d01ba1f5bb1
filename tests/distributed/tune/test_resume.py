"""A sweep whose driver is killed goes on, and does nothing twice."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from distributed.tune.sweeps import children, store, tracked_as, write_sweep
from doctor_derma.distributed.tune.run import resume
from doctor_derma.errors import DermaError
from doctor_derma.training.runs import has_ended
from doctor_derma.workspace import Workspace
from project import RECIPE, own_environment

EPOCHS = 2
TRIALS = 3
METRIC = "val_macro_auc"
DEADLINE_SECONDS = 200
DRIVER = """
import sys
from pathlib import Path
from doctor_derma.distributed.tune.run import tune
from doctor_derma.distributed.tune.sweep import read_sweep
from doctor_derma.workspace import Workspace
tune(Workspace(Path(sys.argv[1])), read_sweep(Path(sys.argv[2])), "killed", sys.argv[3])
"""


def kill_after_the_first_trial(root: Path, path: Path, address: str) -> set[str]:
    """Run a sweep, and kill its driver once a trial has ended; return those that have."""
    command = [sys.executable, "-c", DRIVER, str(root), str(path), address]
    log = path.with_suffix(".log")
    with log.open("w") as stream:
        driver = subprocess.Popen(command, stdout=stream, stderr=stream, env=own_environment())
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not ended_trials(root):
            assert driver.poll() is None, said(log, root)
            assert time.monotonic() < deadline, said(log, root)
            time.sleep(0.02)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    return ended_trials(root)


def said(log: Path, root: Path) -> str:
    """Return what the driver and the trials said, for a test that fails."""
    logs = [log, *Workspace(root).runs.glob("*/trial.log")]
    return "\n".join(f"{path.name}: {path.read_text()}" for path in logs)


def ended_trials(root: Path) -> set[str]:
    folders = Workspace(root).runs.glob("killed_*")
    return {folder.name for folder in folders if has_ended(folder)}


def test_resume_on_two_nodes_repeats_nothing(root: Path, tmp_path: Path, address: str) -> None:
    path = write_sweep(tmp_path / "sweep.yaml", base=RECIPE | {"epochs": EPOCHS}, trials=TRIALS)
    workspace = Workspace(root)
    before = kill_after_the_first_trial(root, path, address)
    assert 0 < len(before) < TRIALS
    kept = {name: workspace.runs / name / "checkpoints" / "last.ckpt" for name in before}
    written = {name: file.stat().st_mtime_ns for name, file in kept.items()}

    tuned = resume(workspace, "killed", address)

    assert {name: file.stat().st_mtime_ns for name, file in kept.items()} == written
    names = [f"killed_{number:02d}" for number in range(1, TRIALS + 1)]
    assert {record.name: record.state for record in tuned.records} == dict.fromkeys(
        names, "complete"
    )
    assert all(list(record.scores) == [1, 2] for record in tuned.records)
    client = store(root)
    parent = tracked_as(client, "killed")
    tracked = children(client, parent.info.run_id)
    assert sorted(tracked) == names
    assert {run.info.status for run in (parent, *tracked.values())} == {"FINISHED"}
    for name, run in tracked.items():
        history = client.get_metric_history(run.info.run_id, METRIC)
        epochs = pd.read_csv(workspace.runs / name / "metrics.csv")["epoch"]
        assert sorted({metric.step for metric in history}) == list(epochs)
        if name in before:
            assert len(history) == EPOCHS


def test_a_sweep_that_is_not_there(root: Path) -> None:
    with pytest.raises(DermaError, match="no such sweep; none was begun yet"):
        resume(Workspace(root), "nothing", None)
