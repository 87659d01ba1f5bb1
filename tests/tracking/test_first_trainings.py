"""The first trainings of a root may start at once, be killed, or meet MLflow's own server."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from doctor_derma.errors import DermaError
from doctor_derma.tracking import store as making
from doctor_derma.tracking.registry import fetch_champion
from doctor_derma.tracking.store import EXPERIMENT, address_of, open_store, ready_database
from doctor_derma.tracking.tracker import Tracker
from doctor_derma.workspace import Workspace
from project import new_run

STARTERS = Path(__file__).with_name("starters.py")
ROOTS = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a whole database without the experiment; tests copy it."""
    database = tmp_path_factory.mktemp("made") / "mlflow.db"
    ready_database(database, EXPERIMENT)
    return database


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path / "root")
    found.tracking_database.parent.mkdir(parents=True)
    return found


def half_made(workspace: Workspace, made: Path) -> Path:
    """Leave a database as two processes that made it at once did."""
    path = workspace.tracking_database
    path.write_bytes(made.read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM experiments")
        connection.execute("CREATE TABLE _alembic_tmp_latest_metrics (step INTEGER)")
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    os.utime(path, (time.time() - 3600,) * 2)
    return path


def test_all_of_the_first_trainings_are_tracked(tmp_path: Path) -> None:
    roots = [tmp_path / f"root{number}" for number in range(ROOTS)]
    done = subprocess.run(
        [sys.executable, STARTERS, *roots], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    tracked = [json.loads(line) for line in done.stdout.splitlines()]
    for root in roots:
        found = [(experiment, run) for name, experiment, run in tracked if name == str(root)]
        assert len({run for _, run in found}) == 4
        assert len({experiment for experiment, _ in found}) == 1
        client = MlflowClient(address_of(Workspace(root).tracking_database))
        assert len(client.search_runs([found[0][0]])) == 4
        left = {path.name for path in Workspace(root).tracking_database.parent.iterdir()}
        assert left == {"mlflow.db", "mlflow.db.lock"}


@pytest.mark.parametrize("when", ["begun", "linked"])
def test_one_that_is_killed_while_it_makes_the_database(when: str, workspace: Workspace) -> None:
    """The lock of a dead process is nobody's, and what it had begun goes."""
    stop = {
        "begun": "making.MlflowClient = lambda tracking_uri: die()",
        "linked": "link = os.link; making.os.link = lambda *paths: (link(*paths), die())",
    }
    script = f"""
import os, signal
from pathlib import Path
from doctor_derma.tracking import store as making
def die():
    os.kill(os.getpid(), signal.SIGKILL)
{stop[when]}
making.ready_database(Path({str(workspace.tracking_database)!r}), "any")
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    (workspace.tracking_database.parent / ".mlflow-0123abcd.db").write_bytes(b"begun")

    began = time.monotonic()
    experiment = open_store(workspace)
    assert time.monotonic() - began < making.QUIET_SECONDS
    assert mlflow.get_experiment(experiment).name == EXPERIMENT
    assert not list(workspace.tracking_database.parent.glob(".mlflow-*"))


def test_one_that_has_been_making_it_for_too_long_is_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "PATIENCE_SECONDS", 0.3)
    with making.FileLock(f"{workspace.tracking_database}.lock"):
        script = (
            "from pathlib import Path\n"
            "from doctor_derma.errors import DermaError\n"
            "from doctor_derma.tracking import store as making\n"
            "making.PATIENCE_SECONDS = 0.3\n"
            f"making.ready_database(Path({str(workspace.tracking_database)!r}), 'any')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
        )
    assert "another process has been making it for 0 s" in done.stderr


def test_a_server_of_mlflow_may_make_it_meanwhile(
    workspace: Workspace, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes its tables in place, without our lock: we wait for it to finish."""
    path = half_made(workspace, made)
    os.utime(path)
    waits = []

    def finish(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            path.write_bytes(made.read_bytes())

    monkeypatch.setattr(making.time, "sleep", finish)
    ready_database(path, "an experiment that it has not")
    assert len(waits) == 3


def test_a_server_of_mlflow_may_begin_it_after_we_had_looked(
    workspace: Workspace, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we have made then goes, and theirs stays."""
    path = workspace.tracking_database
    ours = []

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            ours.append(making.file_of(tracking_uri))

        def search_experiments(self, max_results: int) -> None:
            ours[0].write_bytes(b"ours")
            path.write_bytes(made.read_bytes())

    monkeypatch.setattr(making, "MlflowClient", Client)
    ready_database(path, EXPERIMENT)
    assert path.read_bytes() == made.read_bytes()
    assert ours[0].parent == path.parent
    assert not ours[0].exists()


def test_a_half_made_database_is_recognised_and_its_remedy_works(
    workspace: Workspace, made: Path, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = half_made(workspace, made)
    with pytest.raises(DermaError, match=r"mlflow\.db: half-made.*no run is in it: 'mv ") as caught:
        open_store(workspace)
    assert "\n" not in str(caught.value)

    tracker = Tracker(workspace)
    tracker.start(new_run(root, "untracked"))
    said = capfd.readouterr().err
    assert said.count("Tracking can't be reached, the run goes on without it") == 1
    assert f"mv {path} {path}.half-made" in said
    with pytest.raises(DermaError, match=r"half-made.*a run can be promoted without MLflow"):
        fetch_champion(workspace, "x")

    command = str(caught.value).split("'")[1]
    subprocess.run(command, shell=True, check=True)
    assert open_store(workspace)


def test_runs_in_a_half_made_database_are_not_moved_away_lightly(
    workspace: Workspace, made: Path
) -> None:
    path = half_made(workspace, made)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO runs (run_uuid) VALUES ('a')")
    os.utime(path, (time.time() - 3600,) * 2)
    with pytest.raises(DermaError, match="it holds 1 runs; copy it, then run 'mlflow db upgrade "):
        open_store(workspace)


def test_an_empty_file_is_made_a_database(workspace: Workspace) -> None:
    workspace.tracking_database.touch()
    os.utime(workspace.tracking_database, (time.time() - 3600,) * 2)
    assert open_store(workspace)


def test_a_deleted_experiment_says_how_it_comes_back(
    workspace: Workspace, made: Path, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.tracking_database.write_bytes(made.read_bytes())
    experiment = open_store(workspace)
    client = MlflowClient()
    run_id = client.create_run(experiment).info.run_id
    client.delete_experiment(experiment)
    restore = f"mlflow experiments restore --experiment-id {experiment}"
    with pytest.raises(DermaError, match=f"was deleted; bring it back with .*{restore}"):
        open_store(workspace)
    client.restore_experiment(experiment)
    assert open_store(workspace) == experiment

    client.delete_run(run_id)
    Tracker(workspace).start(new_run(root, "resumed").with_tracking_id(run_id))
    assert f"mlflow runs restore --run-id {run_id}" in capfd.readouterr().err


def test_a_database_that_the_user_names_is_made_whole_too(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = workspace.root / "elsewhere.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address_of(named))
    assert open_store(workspace)
    assert Path(f"{named}.lock").exists()
    assert not workspace.tracking_database.exists()


@pytest.mark.parametrize("name", ["My%20Data", "q?m", "50%", "a#b", "ü ß", "a&b=c", "[x]"])
def test_a_root_may_have_any_name(name: str, tmp_path: Path, made: Path) -> None:
    workspace = Workspace(tmp_path / name)
    workspace.tracking_database.parent.mkdir(parents=True)
    workspace.tracking_database.write_bytes(made.read_bytes())
    artifact = tmp_path / "artifact.txt"
    artifact.write_text("kept")
    with mlflow.start_run(experiment_id=open_store(workspace)) as run:
        mlflow.log_metric("loss", 1.0)
        mlflow.log_artifact(str(artifact))
    artifact.unlink()
    client = MlflowClient(address_of(workspace.tracking_database))
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 1.0}
    # Neither a database nor a folder of another name is left beside the root.
    assert [path.name for path in tmp_path.iterdir()] == [name]
