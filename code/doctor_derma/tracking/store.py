"""Where MLflow keeps its runs: SQLite and plain files, or the server the user names."""

import logging
import os
import shlex
import warnings
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from doctor_derma.errors import DermaError
from doctor_derma.tracking.database import address_of, file_of, ready_database
from doctor_derma.workspace import Workspace

EXPERIMENT = "doctor-derma"
_CONTAINER_VARIABLE = "MLFLOW_TRACKING_URI"


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


def model_name(data_name: str) -> str:
    """Return the registered model's name: one a data set, as only those can be ranked."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in data_name)
    return f"doctor-derma-{safe}"


def package_folder() -> Path:
    """Return the folder of this package, logged with a model so that it runs anywhere."""
    return Path(__file__).resolve().parents[1]


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Where the store is gone, the tracker says so.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="mlflow")
