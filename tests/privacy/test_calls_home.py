"""Nothing that the package does looks up a name, reaches another host or writes elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from doctor_derma import telemetry
from privacy.tracing import Trace, python, trace
from project import DERMA, copy_data
from server.server_process import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's")

PREDICT = """
import time
from doctor_derma import Classifier
print(Classifier.load({bundle!r}).predict({picture!r})[0].label)
# Reports are sent seconds after what they tell of.
time.sleep(3)
"""
SERVE = """
import signal, subprocess, sys, time
from pathlib import Path
from doctor_derma.client import Client
from doctor_derma.errors import DermaError

server = subprocess.Popen([{derma!r}, "serve", "--model", {bundle!r}, "--port", "{port}"])
client = Client("http://127.0.0.1:{port}")
for attempt in range(600):
    time.sleep(0.1)
    assert server.poll() is None
    try:
        if client.ready():
            break
    except DermaError:
        pass
print(client.predict(Path({picture!r})).label)
time.sleep(3)
server.send_signal(signal.SIGTERM)
server.wait(30)
"""
KERNEL = """
import nbformat
from nbclient import NotebookClient
code = "from doctor_derma import Classifier; Classifier.load({bundle!r}).predict({picture!r})"
cell = nbformat.v4.new_code_cell(code)
NotebookClient(nbformat.v4.new_notebook(cells=[cell])).execute()
"""
COMMANDS = """
import sys
from doctor_derma.commands import app

for command in {commands!r}:
    sys.argv = ["derma", *command]
    try:
        app.main()
    except SystemExit as ended:
        assert not ended.code, command
"""
PROJECT = Path(__file__).resolve().parents[2]
# Networks of another test's size: seconds.
TRAIN = (
    *("train", "--model", "timm/test_resnet", "--name", "tiny", "--epochs", "1"),
    *("--image-size", "32", "--train-size", "32", "--start-size", "32", "--batch-size", "16"),
)


def test_the_package_sends_nothing(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    code = PREDICT.format(bundle=str(bundle), picture=str(pictures / "a_red.png"))
    seen = trace(python(code), tmp_path / "run")
    assert seen.output.strip() == "mel"
    _check(seen, tmp_path)


def test_a_prediction_on_the_command_line_sends_nothing(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    command = [DERMA, "predict", pictures, "--model", bundle, "--format", "csv"]
    seen = trace(command, tmp_path / "run")
    assert "a_red.png,mel" in seen.output
    _check(seen, tmp_path)


def test_a_server_and_its_client_send_nothing_elsewhere(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    picture = str(pictures / "a_red.png")
    names = {"derma": str(DERMA), "bundle": str(bundle), "picture": picture, "port": free_port()}
    seen = trace(python(SERVE.format(**names)), tmp_path / "run")
    assert seen.output.strip() == "mel"
    _check(seen, tmp_path)


def test_a_notebook_sends_nothing(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    code = KERNEL.format(bundle=str(bundle), picture=str(pictures / "a_red.png"))
    seen = trace(python(code), tmp_path / "run")
    # Jupyter itself keeps a history and its sockets at home.
    assert not seen.reached


def test_training_and_evaluating_send_nothing(lesions: Path, tmp_path: Path) -> None:
    root = copy_data(lesions, tmp_path / "root")
    # MLflow's tables are made here, too.
    shutil.rmtree(root / "mlflow")
    # In one process: each would load torch and MLflow anew.
    commands = [
        ("--root", str(root), *command)
        for command in (TRAIN, ("evaluate", "tiny"), ("promote", "tiny"))
    ]
    seen = trace(python(COMMANDS.format(commands=commands)), tmp_path / "run", seconds=280)
    assert (root / "deployment" / "models" / "champion" / "model.json").is_file()
    _check(seen, tmp_path, root)


def test_the_trace_sees_who_calls_home(tmp_path: Path) -> None:
    code = """
import pathlib, socket
pathlib.Path.home().joinpath(".device").write_text("id")
caller = socket.socket()
caller.setblocking(False)
caller.connect_ex(("192.0.2.1", 443))
try:
    socket.create_connection(("localhost", 9))
except OSError:
    pass
"""
    seen = trace(python(code), tmp_path / "run")
    assert seen.reached == {"192.0.2.1:443"}
    assert seen.wrote_outside(tmp_path / "run" / "tmp") == {tmp_path / "run" / "home" / ".device"}


def test_only_an_explicit_wish_turns_reports_on() -> None:
    names = list(telemetry.SWITCHES)
    code = f"import os, doctor_derma; print(*(os.environ.get(name) for name in {names!r}))"
    on = {"ORT_DISABLE_TELEMETRY": "0", "RAY_USAGE_STATS_ENABLED": "1"}
    plain = {name: value for name, value in os.environ.items() if name not in names}

    def switches(**variables: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env=plain | variables, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    off = " ".join(telemetry.SWITCHES.values())
    assert switches() == off
    assert switches(**on) == off
    assert switches(DERMA_TELEMETRY="0") == off
    assert switches(DERMA_TELEMETRY="1", **on) == "0 None None 1 None"


@pytest.mark.parametrize("image", ["docker/Dockerfile", "deployment/scale/ray/Dockerfile"])
def test_programs_beside_ours_are_told_in_their_images(image: str) -> None:
    text = (PROJECT / image).read_text()
    for name, value in telemetry.SWITCHES.items():
        assert f"{name}={value}" in text


def test_every_way_to_start_mlflow_is_silent() -> None:
    (line,) = [
        line for line in (PROJECT / "Makefile").read_text().splitlines() if "mlflow server" in line
    ]
    assert "MLFLOW_DISABLE_TELEMETRY=true" in line


def _check(seen: Trace, folder: Path, root: Path | None = None) -> None:
    assert not seen.reached
    outside = seen.wrote_outside(*folder.glob("*/tmp"), *([root] if root else []))
    assert {path for path in outside if not _is_known(path)} == set()


def _is_known(path: Path) -> bool:
    # Matplotlib keeps a list of the machine's fonts, as it takes seconds to make, and git locks
    # its index while it says which commit a model was trained with.
    return "matplotlib" in path.parts or path.name in (".cache", ".config", "index.lock")
