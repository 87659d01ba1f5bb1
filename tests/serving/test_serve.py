"""The real server process: it answers, stops when told, and says why it can't start."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from doctor_derma.errors import DermaError
from doctor_derma.serving.app import serve
from doctor_derma.serving.notice import NOTICE
from serving.tiny_bundle import RED

SERVE = (
    "import sys; from pathlib import Path; from doctor_derma.serving.app import serve\n"
    "serve(Path(sys.argv[1]), port=int(sys.argv[2]))"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answer(url: str, process: subprocess.Popen[str]) -> httpx.Response:
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        try:
            return httpx.get(url, trust_env=False)
        except httpx.ConnectError:
            time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


def test_serves_until_interrupted_and_logs_no_picture(bundle: Path, tmp_path: Path) -> None:
    picture = tmp_path / "private_name.png"
    Image.new("RGB", (8, 8), RED).save(picture)
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(bundle), str(port)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    try:
        assert answer(f"{url}/healthz", process).json()["status"] == "ok"
        with picture.open("rb") as stream:
            response = httpx.post(f"{url}/predict", files={"image": stream}, trust_env=False)
        assert response.json()["label"] == "mel"
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 0
    assert log == f"Serving {bundle} at {url} (stop with Ctrl+C)\n{NOTICE}\n"


def test_a_port_in_use_is_one_sentence(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(DermaError, match=rf"127\.0\.0\.1:{port}: already in use"):
            serve(bundle, port=port)


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [("127.0.0.1", 70000, "port: 70000 is out of range"), ("192.0.2.1", 0, "can't listen there")],
)
def test_an_impossible_address_is_one_sentence(
    bundle: Path, host: str, port: int, reason: str
) -> None:
    with pytest.raises(DermaError, match=reason):
        serve(bundle, host, port)
