"""The real server process: it answers, stops when told, and says why it can't start."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.http import MAX_CONNECTIONS, REQUEST_SECONDS
from doctor_derma.server.run import serve
from doctor_derma.server.settings import Settings
from server.fake_engine import encoded
from server.server_process import SERVE, ServerProcess, free_port, served, wait_until_ready
from tiny_bundle import RED, write_bundle


def ask(server: ServerProcess, name: str = "picture.png") -> httpx.Response:
    files = {"image": (name, encoded(RED))}
    return httpx.post(f"{server.url}/predict", files=files, trust_env=False, timeout=30)


def test_serves_until_interrupted_and_logs_no_picture(bundle: Path) -> None:
    with served(bundle) as server:
        response = ask(server, "private_name.png")
        assert response.json()["label"] == "mel"
        assert server.stop(signal.SIGINT) == 0
        serving, notice, request = server.lines()
    assert serving["message"] == f"Serving {bundle} at {server.url} (stop with Ctrl+C)"
    assert notice["message"] == NOTICE
    assert (request["path"], request["status"]) == ("/predict", 200)
    assert request["request_id"] == response.headers["x-request-id"]
    assert "private_name" not in str(request)


def workers(server: ServerProcess) -> set[int]:
    """Return the processes that answer, among those that the supervisor started."""
    return {
        child.pid
        for child in psutil.Process(server.process.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    }


def test_the_death_of_one_process_of_two_is_survived(bundle: Path) -> None:
    with served(bundle, variables={"DERMA_WORKERS": "2"}) as server:
        before = workers(server)
        assert len(before) == 2
        for _ in range(4):
            assert ask(server).status_code == 200
        killed = min(before)
        psutil.Process(killed).kill()
        psutil.Process(killed).wait(10)
        for _ in range(20):
            assert ask(server).status_code == 200
        end = time.monotonic() + 30
        while len(workers(server) - {killed}) < 2:
            assert time.monotonic() < end, "it was not started again"
            time.sleep(0.1)
        wait_until_ready(server)
        figures = httpx.get(f"{server.url}/metrics", trust_env=False).text
        assert server.stop() == 0
    # Those of all processes together, the dead one's too.
    assert 'derma_predictions_total{label="mel"} 24.0' in figures


def test_pictures_cannot_fill_the_port_for_health(bundle: Path) -> None:
    port = free_port()
    health = f"http://127.0.0.1:{port}"
    paths = ("/healthz", "/readyz", "/metrics")
    with ExitStack() as held:
        variables = {"DERMA_HEALTH_PORT": str(port), "DERMA_QUEUE_LIMIT": "4"}
        server = held.enter_context(served(bundle, 0.2, variables))
        probe = held.enter_context(httpx.Client(base_url=health, trust_env=False, timeout=30))
        local = httpx.Client(base_url=server.url, trust_env=False, timeout=30)
        pictures = held.enter_context(local)
        assert probe.get("/readyz").status_code == 200
        socket_of_health = held.enter_context(socket.create_connection(("127.0.0.1", port)))
        socket_of_health.sendall(b"GET /healthz HTTP/1.1\r\nHost: test\r\n")
        # As many as the usual port may have, each in the middle of a request, and more.
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        start = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
        start += b"Content-Type: image/png\r\n\r\n"
        for _ in range(MAX_CONNECTIONS + 50):
            filling = held.enter_context(socket.create_connection(address))
            filling.sendall(start)
        began = time.monotonic()
        answers = [probe.get(path) for path in paths]
        assert [answer.status_code for answer in answers] == [200] * 3
        # Before any of them is cut off for its silence.
        assert time.monotonic() - began < REQUEST_SECONDS
        assert answers[0].json() == pictures.get("/healthz").json()
        # None of them took the place of a connection that is for health, silent as it is.
        socket_of_health.settimeout(5)
        socket_of_health.sendall(b"\r\n")
        assert socket_of_health.recv(100).startswith(b"HTTP/1.1 200")
        for refused in (
            probe.post("/v1/predict", files={"image": b"x" * 1_000_000}),
            probe.get("/v1/model"),
            probe.get("/"),
        ):
            assert (refused.status_code, refused.json()["title"]) == (404, "Nothing here")


def test_a_port_for_health_works_with_several_processes(bundle: Path) -> None:
    port = free_port()
    variables = {"DERMA_HEALTH_PORT": str(port), "DERMA_WORKERS": "2"}
    with served(bundle, variables=variables) as server:
        assert ask(server).status_code == 200
        figures = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        assert server.stop() == 0
    assert 'derma_predictions_total{label="mel"} 1.0' in figures
    # The supervisor and two processes with a network each; ONNX Runtime alone takes 50 MB.
    (resident,) = re.findall(r"^derma_resident_bytes (\S+)$", figures, re.MULTILINE)
    assert 150e6 < float(resident) < 1e9


@pytest.mark.parametrize("workers", [1, 2])
def test_a_provider_that_is_not_there_is_one_sentence(bundle: Path, workers: int) -> None:
    settings = Settings(workers=workers, providers=("CoreMLExecutionProvider",))
    with pytest.raises(DermaError, match=r"DERMA_PROVIDERS: .* has no CoreMLExecutionProvider"):
        serve(bundle, port=0, settings=settings)


def test_a_bundle_that_no_process_can_serve_is_one_sentence(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", b"no graph")
    with pytest.raises(DermaError, match="ONNX Runtime can't load this graph"):
        serve(folder)
    # In a process of its own, as a supervisor takes the signals of the one it is in.
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    done = subprocess.run(
        [sys.executable, script, folder, "0", "0"],
        env={**os.environ, "DERMA_WORKERS": "2"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "ONNX Runtime can't load this graph" in done.stderr
    assert done.stderr.splitlines()[-1].endswith(f"{folder}: can't be served; the log says why")


def test_a_port_in_use_is_one_sentence(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(DermaError, match=rf"127\.0\.0\.1:{port}: already in use"):
            serve(bundle, port=port)


def test_the_port_for_health_is_another_one(bundle: Path) -> None:
    port = free_port()
    with pytest.raises(DermaError, match=rf"127\.0\.0\.1:{port}: already in use"):
        serve(bundle, port=port, settings=Settings(health_port=port))


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [("127.0.0.1", 70000, "port: 70000 is out of range"), ("192.0.2.1", 0, "can't listen there")],
)
def test_an_impossible_address_is_one_sentence(
    bundle: Path, host: str, port: int, reason: str
) -> None:
    with pytest.raises(DermaError, match=reason):
        serve(bundle, host, port)


def test_a_bad_setting_is_one_sentence(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMA_QUEUE_LIMIT", "none")
    with pytest.raises(DermaError, match="DERMA_QUEUE_LIMIT: Input should be"):
        serve(bundle)
