"""Serving works where only the base dependencies are installed."""

import subprocess
import sys
from pathlib import Path

TRAINING_ONLY = (
    "torch",
    "torchvision",
    "pandas",
    "sklearn",
    "matplotlib",
    "mlflow",
    "timm",
    "onnx",
)

BLOCK = f"""
import sys
for name in {TRAINING_ONLY!r}:
    sys.modules[name] = None  # makes every import of it fail
"""

SERVE_ALL = """
from pathlib import Path
from fastapi.testclient import TestClient
from doctor_derma import Classifier
from doctor_derma.client import Client
from doctor_derma.server.app import create_app
from doctor_derma.inference.predict import run_predict
bundle, pictures = map(Path, sys.argv[1:])
assert Classifier.load(bundle).predict(pictures / "a_red.png")[0].label == "mel"
for form in ("table", "json", "csv"):
    assert run_predict([str(pictures)], bundle, form) == 0
with TestClient(create_app(bundle)) as client:
    sent = {"image": (pictures / "b_green.JPG").read_bytes()}
    assert client.post("/predict", files=sent).json()["label"] == "nv"
    for path in ("/", "/docs", "/healthz", "/model", "/openapi.json", "/static/app.js"):
        assert client.get(path).status_code == 200
"""


def run(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_of_serving_works_without_the_training_packages(bundle: Path, pictures: Path) -> None:
    run(BLOCK + SERVE_ALL, bundle, pictures)


def test_serving_imports_none_of_the_training_packages() -> None:
    code = (
        "import sys, doctor_derma.server.app, doctor_derma.inference.classifier\n"
        "import doctor_derma.inference.predict\n"
        f"print(*(set({TRAINING_ONLY!r}) & set(sys.modules)))"
    )
    assert run(code).strip() == ""


def test_the_package_alone_loads_no_onnxruntime() -> None:
    code = "import sys, doctor_derma; print('onnxruntime' in sys.modules)"
    assert run(code).strip() == "False"
