"""Save the bundle as an MLflow model, as ``derma train`` logs it, into the folder given."""

import os
import sys

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

import doctor_derma

PACKAGE = os.path.dirname(doctor_derma.__file__)  # noqa: PTH120

if __name__ == "__main__":
    columns = [ColSpec(DataType.string, name, required=False) for name in ("path", "image")]
    mlflow.pyfunc.save_model(
        sys.argv[1],
        python_model=f"{PACKAGE}/inference/mlflow_model.py",
        artifacts={"bundle": os.environ["BENCH_BUNDLE"]},
        code_paths=[PACKAGE],
        pip_requirements=["onnxruntime"],
        signature=ModelSignature(
            inputs=Schema(columns),
            params=ParamSchema([ParamSpec("rule", DataType.string, "")]),
        ),
    )
