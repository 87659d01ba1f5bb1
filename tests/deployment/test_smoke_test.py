"""The smoke test of a deployment: content with a real server, and with nothing less."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from doctor_derma.server.app import create_app
from doctor_derma.server.settings import Settings
from tiny_bundle import ALL_RULES, write_bundle

SCRIPT = Path(__file__).resolve().parents[2] / "deployment" / "smoke_test.py"
HEALTH = {"status": "ok", "model": {"name": "fake"}}


def smoke_test(url: str, wait: int = 10) -> subprocess.CompletedProcess[str]:
    # -S and -I: without the packages of this environment, which the script must not need.
    command = [sys.executable, "-I", "-S", SCRIPT, url, "--wait", str(wait)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def fake(prediction: object, page: str = "Not a medical device.") -> FastAPI:
    app = FastAPI()
    app.get("/healthz")(lambda: HEALTH)
    app.get("/", response_class=HTMLResponse)(lambda: page)
    app.post("/predict")(lambda: prediction)
    return app


def entries(**probabilities: float) -> list[dict[str, object]]:
    return [{"name": name, "probability": value} for name, value in probabilities.items()]


def test_a_real_server_passes(tmp_path: Path):
    bundle = write_bundle(tmp_path / "bundle")
    with served(create_app(bundle)) as url:
        done = smoke_test(url + "/")
    assert done.returncode == 0, done.stderr
    assert "is up and called" in done.stdout


def test_a_rule_may_call_another_class_than_the_most_probable(tmp_path: Path):
    # The plain brown picture is the first class most probably, and the costs speak for the last.
    costs = ALL_RULES.model_copy(update={"default": "costs"})
    with served(create_app(write_bundle(tmp_path / "bundle", decision=costs))) as url:
        done = smoke_test(url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("called a plain brown picture 'vasc'\n")


def test_a_server_that_wants_a_key_is_sent_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bundle = write_bundle(tmp_path / "bundle")
    monkeypatch.delenv("DERMA_API_KEY", raising=False)
    with served(create_app(bundle, Settings(api_keys=frozenset({"sesame"})))) as url:
        without = smoke_test(url)
        monkeypatch.setenv("DERMA_API_KEY", "sesame")
        with_key = smoke_test(url)
    assert "POST /predict answers 401" in without.stderr
    assert with_key.returncode == 0, with_key.stderr


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        (FastAPI(), "/healthz answers 404"),
        (fake({}, page="something else"), "lacks its notice"),
        (fake({"unexpected": 1}), "is not Doctor Derma's"),
        (
            fake({"label": "a", "probabilities": entries(a=0.7, b=0.7)}),
            "add up to 1.4",
        ),
        (
            fake({"label": "b", "probabilities": entries(a=0.7, b=0.3)}),
            "not the most probable",
        ),
        (
            fake({"label": "b", "rule": "most-probable", "probabilities": entries(a=0.7, b=0.3)}),
            "not the most probable",
        ),
        (
            fake({"label": "c", "rule": "balanced", "probabilities": entries(a=0.7, b=0.3)}),
            "none of its classes",
        ),
        (
            fake({"label": "a", "probabilities": entries(a=0.7, b=0.3)}),
            "something else than a picture answers 200",
        ),
    ],
)
def test_a_server_that_is_not_well_fails_in_one_line(app: FastAPI, reason: str):
    with served(app) as url:
        done = smoke_test(url, wait=1)
    assert done.returncode == 1
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_server_at_all_fails_after_the_wait():
    done = smoke_test("http://127.0.0.1:9", wait=1)
    assert done.returncode == 1
    assert "not healthy after 1 seconds (no answer" in done.stderr
