"""The logged MLflow model gives what ``derma predict`` gives."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import doctor_derma
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.predict import predict_rows, run_predict
from doctor_derma.tracking.registry import signature_of
from tiny_bundle import BETWEEN

PACKAGE = Path(doctor_derma.__file__).parent


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment("serving", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment("serving")
    yield uri
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def model_uri(store: str, bundle: Path) -> str:
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PACKAGE / "inference" / "mlflow_model.py"),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(PACKAGE)],
            signature=signature_of(["mel", "nv", "vasc"]),
            pip_requirements=["onnxruntime"],
        )
    return logged.model_uri


@pytest.fixture
def paths(pictures: Path) -> list[Path]:
    names = ("a_red.png", "notes.txt", "b_green.JPG", "missing.png", "deep/c_blue.png")
    return [pictures / name for name in names]


@pytest.fixture
def expected(bundle: Path, paths: list[Path], tmp_path: Path) -> pd.DataFrame:
    written = tmp_path / "expected.csv"
    run_predict([str(path) for path in paths], bundle, "csv", written)
    table = pd.read_csv(written)
    return table.fillna({"label": "", "rule": "", "error": ""})


def test_paths_give_the_csv_of_predict(
    model_uri: str, paths: list[Path], expected: pd.DataFrame, classifier: Classifier
) -> None:
    model = mlflow.pyfunc.load_model(model_uri)
    table = model.predict(pd.DataFrame({"path": [str(path) for path in paths]}))
    pd.testing.assert_frame_equal(table, expected, rtol=1e-6, check_dtype=False)
    rows = list(predict_rows(classifier, paths))
    assert list(table["error"]) == [row.error or "" for row in rows]
    assert table["mel"][0] == pytest.approx(rows[0].probabilities["mel"], abs=1e-6)


def test_base64_pictures_give_the_same(
    model_uri: str, paths: list[Path], expected: pd.DataFrame
) -> None:
    present = [path for path in paths if path.exists()]
    texts = [base64.b64encode(path.read_bytes()).decode() for path in present]
    given = pd.DataFrame({"image": [*texts, "not base64!"]}, index=[7, 5, 3, 2, 1])
    table = mlflow.pyfunc.load_model(model_uri).predict(given)
    assert list(table.columns) == list(expected.columns)
    assert list(table.index) == [7, 5, 3, 2, 1]
    assert list(table["path"]) == [""] * 5
    assert list(table["label"]) == ["mel", "", "nv", "vasc", ""]
    assert list(table["error"] != "") == [False, True, False, False, True]


def test_a_rule_may_be_asked_for(model_uri: str, tmp_path: Path) -> None:
    path = tmp_path / "between.png"
    Image.new("RGB", (20, 20), BETWEEN).save(path)
    model, given = mlflow.pyfunc.load_model(model_uri), pd.DataFrame({"path": [str(path)]})
    found = {
        rule: model.predict(given, params={"rule": rule}).loc[0, ["label", "rule"]].tolist()
        for rule in ("", "balanced")
    }
    assert found == {"": ["nv", "most-probable"], "balanced": ["mel", "balanced"]}
    with pytest.raises(Exception, match="no costs; use"):
        model.predict(given, params={"rule": "costs"})


def test_another_column_is_refused(model_uri: str) -> None:
    model = mlflow.pyfunc.load_model(model_uri).unwrap_python_model()
    with pytest.raises(Exception, match="columns file: none is 'path' or 'image'"):
        model.predict(None, pd.DataFrame({"file": ["x"]}))


def test_the_mlflow_command_works_where_the_package_is_not_installed(
    store: str, model_uri: str, paths: list[Path], expected: pd.DataFrame, tmp_path: Path
) -> None:
    table = tmp_path / "input.csv"
    pd.DataFrame({"path": [str(path) for path in paths]}).to_csv(table, index=False)
    # An installed doctor_derma, if any, is hidden from the command's Python.
    hide = tmp_path / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(
        "import sys\n"
        f"sys.path[:] = [p for p in sys.path if p != {str(PACKAGE.parent)!r}]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in repr(f)]\n"
    )
    options = ["--env-manager", "local", "-m", model_uri]
    options += ["-i", str(table), "-t", "csv", "-o", str(tmp_path / "out.json")]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "models", "predict", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(hide)},
    )
    assert done.returncode == 0, done.stderr
    answers = pd.DataFrame(json.loads((tmp_path / "out.json").read_text())["predictions"])
    assert list(answers.columns) == list(expected.columns)
    assert list(answers["label"]) == list(expected["label"])
    assert list(answers["error"]) == list(expected["error"])
    probabilities = ["mel", "nv", "vasc"]
    np.testing.assert_allclose(
        answers[probabilities].astype(float), expected[probabilities], rtol=1e-6
    )
