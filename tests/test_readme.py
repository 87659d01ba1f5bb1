"""The commands in README.md are those that there are, and do what it says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from PIL import Image

from doctor_derma.commands.app import app
from doctor_derma.workspace import Workspace
from tiny_bundle import BLUE, RED

ROOT = Path(__file__).parents[1]
DERMA = typer.main.get_command(app)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
]
LINES = [
    line.strip()
    for block in BLOCKS
    for line in re.sub(r"\\\n\s*", "", block).splitlines()
    if line.strip()
]


def commands(program: str) -> list[str]:
    """Return the lines that begin with a program, without their remarks."""
    found = (re.sub(r"\s+#.*", "", line).removesuffix(" &") for line in LINES)
    return [line for line in found if line.split()[0] == program]


@pytest.mark.parametrize("line", commands("derma"))
def test_a_command_of_derma_is_one(line: str) -> None:
    command, arguments = DERMA, shlex.split(line)[1:]
    context = None
    while hasattr(command, "commands"):
        name = arguments.pop(0)
        context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
        command = command.commands[name]
    # It raises for what is no flag, no value of it, or left out.
    command.make_context(command.name, arguments, parent=context)


@pytest.mark.parametrize("line", commands("make"))
def test_a_target_of_make_is_one(line: str) -> None:
    arguments = [word for word in line.split()[1:] if word != "..."]
    done = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_mlflow_predicts_as_written(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the root where the champion was trained, and leaving nothing else there."""
    # Seconds to import, which the fast tests do without.
    import mlflow
    from mlflow.tracking import MlflowClient

    from doctor_derma.tracking.registry import register_bundle
    from doctor_derma.tracking.store import open_store

    block = next(block for block in BLOCKS if "mlflow models predict" in block)
    lines = [line for line in block.splitlines() if not line.startswith("make ")]
    name = re.search(r"models:/doctor-derma-(\S+)@champion", block)
    assert name is not None
    root = tmp_path / "root"
    before = mlflow.get_tracking_uri()
    experiment = open_store(Workspace(root))
    with mlflow.start_run(experiment_id=experiment):
        register_bundle(bundle, name[1], ["mel", "nv", "vasc"], 0.5)
    assert MlflowClient().get_model_version_by_alias(f"doctor-derma-{name[1]}", "champion")
    mlflow.set_tracking_uri(before)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    pictures = {"red.png": RED, "blue.png": BLUE}
    for file, colour in pictures.items():
        Image.new("RGB", (40, 30), colour).save(root / file)
    pd.DataFrame({"path": [str(root / file) for file in pictures]}).to_csv(root / "paths.csv")
    there = sorted(path.name for path in root.iterdir())

    done = subprocess.run(
        ["bash", "-ec", "\n".join(lines)],
        cwd=root,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r'"label": "(\w+)"', done.stdout) == ["mel", "vasc"]
    assert sorted(path.name for path in root.iterdir()) == there


def test_the_tests_see_the_commands() -> None:
    assert len(commands("derma")) > 30
    assert len(commands("make")) > 2
    assert shutil.which("make")
