"""The wheel in an empty environment, without the extra for training, predicts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor_derma import Classifier
from project import own_environment

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "deployment" / "models" / "champion"
# What training is made of; none of it comes with a prediction.
NOT_THERE = ("torch", "pandas", "matplotlib", "mlflow", "scikit-learn", "ray")


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in own_environment().items() if k != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pip(environment: Path, *command: str | Path, cwd: Path) -> str:
    """Run the pip of the tests on another environment."""
    chosen = ("--python", environment / "bin" / "python")
    return run(sys.executable, "-m", "pip", *chosen, *command, cwd=cwd)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what it needs, and install it with pip's usual index."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(
        ROOT / "code" / "doctor_derma", source / "code" / "doctor_derma", ignore=ignored
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder
    )
    # Without a pip of its own, and without compiling what no prediction imports: it takes seconds.
    run(sys.executable, "-m", "venv", "--without-pip", folder / "empty", cwd=folder)
    [wheel] = folder.glob("doctor_derma-*.whl")
    pip(folder / "empty", "install", "--no-compile", wheel, cwd=folder)
    return folder / "empty"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_installed_wheel_predicts_with_a_bundle(environment: Path, tmp_path: Path) -> None:
    python = environment / "bin" / "python"
    names = {
        package["name"].lower()
        for package in json.loads(pip(environment, "list", "--format=json", cwd=tmp_path))
    }
    assert "doctor-derma" in names
    assert names.isdisjoint(NOT_THERE)
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    output = run(
        *(environment / "bin" / "derma", "predict", "noise.png", "--model", BUNDLE),
        *("--format", "json"),
        cwd=tmp_path,
    )
    [found] = json.loads(output)
    [expected] = Classifier.load(BUNDLE).predict([tmp_path / "noise.png"])
    assert found["label"] == expected.label
    assert found["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    where = "import doctor_derma; print(doctor_derma.__file__, doctor_derma.__version__)"
    file, version = run(python, "-c", where, cwd=tmp_path).split()
    assert Path(file).is_relative_to(environment)
    assert version == run(python, "-m", "doctor_derma", "--version", cwd=tmp_path).strip()
