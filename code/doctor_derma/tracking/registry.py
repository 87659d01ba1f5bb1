"""The model registry: every bundle a version, the best one the champion."""

import io
from contextlib import redirect_stderr
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

from doctor_derma._version import __version__
from doctor_derma.bundle import read_info
from doctor_derma.errors import DermaError, first_line
from doctor_derma.tracking.store import locked, open_store
from doctor_derma.workspace import Workspace

CHAMPION = "champion"
PACKAGE = Path(__file__).resolve().parents[1]
# What MLflow runs to serve a logged model; it is never imported here.
MODEL_CODE = "doctor_derma.inference.mlflow_model"
SCORE_TAG = "val_balanced_accuracy"
FINGERPRINT_TAG = "data_fingerprint"
# What MLflow answers where the model, or the alias, is not there yet; all else may pass.
_NO_CHAMPION = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# What the logged model needs where it is loaded, the package itself being logged with it.
_REQUIREMENTS = ("numpy", "onnxruntime", "pandas", "pillow", "pydantic", "rich", "typer")


def register_bundle(bundle: Path, data_name: str, classes: list[str], score: float) -> None:
    """Log a bundle to the active run as an MLflow pyfunc and register it.

    It takes the alias ``champion`` when its validation balanced accuracy is better than that
    of the present champion on the same data set, or when that one is of other data of this name.
    """
    name, fingerprint = model_name(data_name), read_info(bundle).data.fingerprint
    # MLflow says on standard error that it registers a model, whatever the level of its logs.
    with redirect_stderr(io.StringIO()):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PACKAGE.parent.joinpath(*MODEL_CODE.split(".")).with_suffix(".py")),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(PACKAGE)],
            pip_requirements=list(_REQUIREMENTS),
            signature=signature_of(classes),
            registered_model_name=name,
            metadata={"doctor_derma": __version__, "notice": "Not a medical device."},
        )
    client = MlflowClient()
    version = str(logged.registered_model_version)
    client.set_model_version_tag(name, version, SCORE_TAG, f"{score:.6f}")
    client.set_model_version_tag(name, version, FINGERPRINT_TAG, fingerprint)
    # Of two that end at once, the worse one must not be the last to look.
    with locked(mlflow.get_tracking_uri()):
        if score > _champion_score(client, name, fingerprint):
            client.set_registered_model_alias(name, CHAMPION, version)


def model_name(data_name: str) -> str:
    """Return the registered model's name: one a data set, as only those can be ranked."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in data_name)
    return f"doctor-derma-{safe}"


def fetch_champion(workspace: Workspace, data_name: str) -> Path:
    """Return the folder of the champion's bundle, downloaded where MLflow is remote.

    Raises
    ------
    DermaError
        When nothing is registered for the data set, or MLflow can't be reached or is damaged.
    """
    name = model_name(data_name)
    try:
        open_store(workspace)
        MlflowClient().get_model_version_by_alias(name, CHAMPION)
        model = mlflow.artifacts.download_artifacts(f"models:/{name}@{CHAMPION}")
    except DermaError as error:
        raise DermaError(f"{error}; a run can be promoted without MLflow, by its name") from error
    except Exception as error:  # MLflow raises its own, its HTTP library's and SQLAlchemy's
        reason = first_line(error)[:200]
        raise DermaError(
            f"{mlflow.get_tracking_uri()}: no champion of '{name}' ({reason}); "
            "train one with 'derma train', or name the run to promote"
        ) from error
    return Path(model) / "artifacts" / "bundle"


def _champion_score(client: MlflowClient, name: str, fingerprint: str) -> float:
    try:
        champion = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in _NO_CHAMPION:
            raise
        return float("-inf")
    # Versions of before there was the tag are ranked with all others.
    if champion.tags.get(FINGERPRINT_TAG, fingerprint) != fingerprint:
        return float("-inf")
    return float(champion.tags.get(SCORE_TAG, "-inf"))


def signature_of(classes: list[str]) -> ModelSignature:
    """Return what the logged model takes and gives."""
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, name, required=False) for name in ("path", "image")
    ]
    outputs: list[ColSpec | TensorSpec] = [
        *(ColSpec(DataType.string, name) for name in ("path", "label", "rule")),
        *(ColSpec(DataType.double, name) for name in classes),
        ColSpec(DataType.string, "error"),
    ]
    # Empty for the bundle's own rule.
    params = ParamSchema([ParamSpec("rule", DataType.string, "")])
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=params)
