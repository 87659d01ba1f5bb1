"""Where MLflow keeps its runs: SQLite and plain files, or the server the user names.

MLflow makes its tables in place, in some seventy steps, and two processes that do so together
leave neither a whole database nor one that can be mended. So its SQLite file is made once and
whole, whoever else wants it at the same moment.
"""

import logging
import os
import shlex
import sqlite3
import time
import uuid
import warnings
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from urllib.parse import quote

import mlflow
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import Engine, event, make_url

from doctor_derma.errors import DermaError
from doctor_derma.workspace import Workspace

EXPERIMENT = "doctor-derma"
_CONTAINER_VARIABLE = "MLFLOW_TRACKING_URI"
# Seconds that others get to make it, and after which a file that nobody writes to was left.
PATIENCE_SECONDS = 120.0
QUIET_SECONDS = 15.0


def open_store(workspace: Workspace) -> str:
    """Point MLflow at its store and return the id of the project's experiment.

    The store is ``$MLFLOW_TRACKING_URI`` where that is set, else ``mlflow/db/mlflow.db`` with
    artifacts under ``mlflow/artifacts/``.

    Raises
    ------
    DermaError
        When the database was left half-made, or the experiment is deleted.
    Exception
        Whatever MLflow raises when the store can't be reached.
    """
    _quiet()
    artifacts = None
    if named := os.environ.get(_CONTAINER_VARIABLE):
        # An unreachable server should cost seconds, not the minutes that MLflow allows.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        if database := file_of(named):
            ready_database(database, EXPERIMENT)
        mlflow.set_tracking_uri(named)
    else:
        workspace.tracking_artifacts.mkdir(parents=True, exist_ok=True)
        ready_database(workspace.tracking_database, EXPERIMENT)
        mlflow.set_tracking_uri(address_of(workspace.tracking_database))
        # MLflow exports that address, and the next workspace would take it for the user's.
        os.environ.pop(_CONTAINER_VARIABLE, None)
        artifacts = workspace.tracking_artifacts.as_uri()
    return _experiment(artifacts)


def _experiment(artifacts: str | None) -> str:
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        try:
            return mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts)
        except MlflowException:
            # Another process may have made it just now.
            experiment = mlflow.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        address = mlflow.get_tracking_uri()
        raise DermaError(
            f"{address}: the experiment '{EXPERIMENT}' was deleted; bring it back with "
            f"'MLFLOW_TRACKING_URI={shlex.quote(address)} mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}'"
        )
    return experiment.experiment_id


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Where the store is gone, the tracker says so.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="mlflow")


def address_of(database: Path) -> str:
    """Return the address under which MLflow opens a file, whatever signs its path has."""
    plain = str(database)
    if not {"%", "?"} & set(plain):
        return f"sqlite:///{plain}"
    # Without a driver MLflow takes the escaped path for a folder's name, and makes the folder.
    escaped = plain.replace("%", "%25").replace("?", "%3F")
    return f"sqlite+pysqlite:///{escaped}"


def file_of(address: str) -> Path | None:
    """Return the file of an address of SQLite; None for any other."""
    if not address.startswith("sqlite"):
        return None
    named = make_url(address).database
    return None if named in (None, "", ":memory:") else Path(str(named))


def ready_database(database: Path, experiment: str) -> None:
    """Have MLflow's tables in a file: make them where there are none, or wait until they are.

    The tables are made in a file beside it and put in place at once, by one process at a time;
    a lock keeps the others waiting, and the system takes it back from a process that dies.

    Parameters
    ----------
    experiment : name of an experiment that a database has only once it is whole

    Raises
    ------
    DermaError
        When the file is no database, was left half-made, or others don't come to an end.
    """
    if _first_value(database, "SELECT 1 FROM experiments WHERE name = ?", experiment):
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _lock(database):
            for left in database.parent.glob(f".{database.stem}-*"):
                left.unlink(missing_ok=True)
            if not database.exists() or _was_left_empty(database):
                _make(database)
            _wait_until_whole(database)
    except Timeout as error:
        raise DermaError(
            f"{database}: another process has been making it for {PATIENCE_SECONDS:.0f} s; "
            f"end it, or wait and try again"
        ) from error


def locked(address: str) -> AbstractContextManager[object]:
    """Keep other processes of ours from what is done with a database meanwhile.

    A server of MLflow has no such lock; there, nothing is kept.
    """
    database = file_of(address)
    return _lock(database) if database else nullcontext()


def _lock(database: Path) -> FileLock:
    return FileLock(f"{database}.lock", timeout=PATIENCE_SECONDS)


def _make(database: Path) -> None:
    scratch = database.with_name(f".{database.stem}-{uuid.uuid4().hex[:8]}.db")
    event.listen(Engine, "connect", _relax)
    try:
        MlflowClient(tracking_uri=address_of(scratch)).search_experiments(max_results=1)
        with scratch.open("rb+") as stream:
            os.fsync(stream.fileno())
        _put_in_place(scratch, database)
    finally:
        event.remove(Engine, "connect", _relax)
        scratch.unlink(missing_ok=True)


def _put_in_place(scratch: Path, database: Path) -> None:
    if _was_left_empty(database):
        database.unlink()
    try:
        os.link(scratch, database)
    except FileExistsError:
        pass  # A server of MLflow has begun one in the meantime.
    except OSError:  # A disk without links.
        scratch.replace(database)


def _relax(connection: sqlite3.Connection, _: object) -> None:
    """Let SQLite not wait for the disk after each of hundreds of statements."""
    connection.execute("PRAGMA synchronous = OFF")


def _wait_until_whole(database: Path) -> None:
    began = time.monotonic()
    while fault := _fault(database):
        if _quiet_for(database) > QUIET_SECONDS or time.monotonic() - began > PATIENCE_SECONDS:
            raise DermaError(_remedy(database, fault))
        time.sleep(0.2)


def _fault(database: Path) -> str | None:
    """Say what keeps a database from being whole; None for one that MLflow can judge itself."""
    try:
        with _reading(database) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if "alembic_version" not in tables:
                return "it has no version"
            versions = [name for (name,) in connection.execute("SELECT * FROM alembic_version")]
    except sqlite3.OperationalError as error:
        return str(error)  # Such as "database is locked", by who is making it.
    except sqlite3.DatabaseError as error:
        raise DermaError(
            f"{database}: no database ({error}); move it away, and the next command makes one"
        ) from error
    if left := sorted(name for name in tables if name.startswith("_alembic_tmp")):
        return f"a step was not ended, its {left[0]} is still there"
    folder = Path(mlflow.__file__).parent / "store" / "db_migrations"
    steps = ScriptDirectory(str(folder))
    known = {step.revision for step in steps.walk_revisions()}
    if len(versions) == 1 and (versions[0] == steps.get_current_head() or versions[0] not in known):
        return None
    return "it is not at MLflow's last version"


def _remedy(database: Path, fault: str) -> str:
    away = f"mv {shlex.quote(str(database))} {shlex.quote(f'{database}.half-made')}"
    if runs := _first_value(database, "SELECT count(*) FROM runs"):
        upgrade = f"mlflow db upgrade {shlex.quote(address_of(database))}"
        return (
            f"{database}: half-made, or of an older MLflow ({fault}), and it holds {runs:,} runs; "
            f"copy it, then run '{upgrade}', or where that fails start anew with '{away}'"
        )
    return (
        f"{database}: half-made, as whoever made it was stopped or two did at once ({fault}); "
        f"no run is in it: '{away}', and the next command makes it anew"
    )


def _first_value(database: Path, query: str, *values: str) -> int | None:
    """Return the first number that a query finds; None for no row, and where it can't be asked."""
    try:
        with _reading(database) as connection:
            row = connection.execute(query, values).fetchone()
    except sqlite3.Error:
        return None
    return row and row[0]


def _was_left_empty(database: Path) -> bool:
    try:
        return database.stat().st_size == 0 and _quiet_for(database) > QUIET_SECONDS
    except FileNotFoundError:
        return False


def _quiet_for(database: Path) -> float:
    """Return for how many seconds nobody has written to it or its journal."""
    paths = (database, Path(f"{database}-journal"))
    return time.time() - max((path.stat().st_mtime for path in paths if path.exists()), default=0)


def _reading(database: Path) -> closing[sqlite3.Connection]:
    address = f"file:{quote(str(database))}?mode=ro"
    return closing(sqlite3.connect(address, uri=True, timeout=0.5))
