"""Every request has an id and a line in the log, without anything of its pictures."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from doctor_derma.server.app import create_app
from doctor_derma.server.logs import REQUEST_LOGGER, JsonFormatter, TextFormatter
from doctor_derma.server.settings import Settings
from server.tiny_bundle import RED


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    logger = logging.getLogger(REQUEST_LOGGER)
    handler = Keeping()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
def client(bundle: Path) -> Iterator[TestClient]:
    with TestClient(create_app(bundle), raise_server_exceptions=False) as client:
        yield client


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), RED).save(stream, "PNG")
    return stream.getvalue()


def test_a_request_is_one_line(client: TestClient, log: list) -> None:
    response = client.post("/v1/predict?activation_map=png", files={"image": ("me.png", picture())})
    (line,) = log
    assert set(line) == {
        *("time", "level", "message", "request_id", "method", "path", "status"),
        *("duration_ms", "pictures", "batch"),
    }
    assert (line["level"], line["message"]) == ("info", "request")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/predict", 200)
    assert (line["pictures"], line["batch"]) == (1, 1)
    assert line["duration_ms"] > 0
    assert line["time"].endswith("Z")
    assert line["request_id"] == response.headers["x-request-id"]
    assert len(line["request_id"]) == 32


def test_several_pictures_are_counted(client: TestClient, log: list) -> None:
    files = [("images", picture()) for _ in range(3)] + [("images", b"nonsense")]
    assert client.post("/v1/predict", files=files).status_code == 200
    assert log[0]["pictures"] == 3


def test_the_log_says_nothing_of_a_client(client: TestClient, log: list) -> None:
    client.post("/v1/predict", files={"image": ("jane_doe.png", picture())})
    client.get("/patients/jane_doe?name=jane_doe")
    client.get("/static/jane_doe.js")
    assert "jane" not in json.dumps(log)
    assert "testclient" not in json.dumps(log)
    assert [line["path"] for line in log] == ["/v1/predict", "unknown", "/static"]


def test_addresses_are_logged_where_that_is_asked_for(bundle: Path, log: list) -> None:
    with TestClient(create_app(bundle, Settings(log_clients=True))) as client:
        client.get("/v1/model")
    assert log[0]["client"] == "testclient"


@pytest.mark.parametrize("given", ["abc-123", "0" * 128, "6f1d2c3b-aaaa-bbbb", "trace:1.2_x"])
def test_a_sane_id_is_kept(client: TestClient, log: list, given: str) -> None:
    response = client.get("/v1/model", headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == log[0]["request_id"] == given


@pytest.mark.parametrize("given", ["", "0" * 129, "a b", 'x","level":"error', "naïve", "<b>"])
def test_another_one_is_replaced(client: TestClient, log: list, given: str) -> None:
    response = client.get("/v1/model", headers={"X-Request-ID": given.encode()})
    assert response.headers["x-request-id"] == log[0]["request_id"] != given
    assert len(log[0]["request_id"]) == 32


def test_a_problem_names_the_request(client: TestClient, log: list) -> None:
    response = client.post("/v1/predict", files={"image": b"nonsense"})
    assert response.json()["instance"] == log[0]["request_id"]
    assert (log[0]["status"], log[0]["pictures"]) == (415, 0)


def test_probes_are_quiet_unless_something_is_wrong(client: TestClient, log: list) -> None:
    for path in ("/metrics", "/healthz", "/readyz"):
        assert client.get(path).status_code == 200
    assert log == []
    client.app.state.engine.ready = False  # type: ignore[attr-defined]
    assert client.get("/readyz").status_code == 503
    assert [line["path"] for line in log] == ["/readyz"]


def test_a_crash_is_an_error_in_the_log_with_the_request(
    client: TestClient, log: list, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*arguments: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(client.app.state.engine, "predict", broken)  # type: ignore[attr-defined]
    response = client.post("/v1/predict", files={"image": picture()})
    assert response.status_code == 500
    assert (log[0]["level"], log[0]["status"]) == ("error", 500)
    assert response.json()["instance"] == log[0]["request_id"]
    assert "out of luck" in caplog.text


def record(message: str, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("name", logging.WARNING, "file", 1, message, (), None)
    for name, value in extra.items():
        setattr(made, name, value)
    return made


def test_json_is_one_line_whatever_the_message_holds() -> None:
    line = JsonFormatter().format(record('two\nlines "quoted"'))
    assert "\n" not in line
    assert json.loads(line)["message"] == 'two\nlines "quoted"'
    assert json.loads(line)["level"] == "warning"


def test_a_traceback_is_a_string_in_json_and_below_in_text() -> None:
    try:
        raise RuntimeError("out of luck")
    except RuntimeError as error:
        failed = record("failed", exc_info=(type(error), error, error.__traceback__))
    assert "RuntimeError: out of luck" in json.loads(JsonFormatter().format(failed))["traceback"]
    first, *below = TextFormatter().format(failed).splitlines()
    assert first == "failed"
    assert below[-1] == "RuntimeError: out of luck"


def test_text_is_for_people() -> None:
    fields = {"method": "POST", "path": "/v1/predict", "status": 200}
    line = TextFormatter().format(record("request", fields=fields))
    assert line[8:] == " request method=POST path=/v1/predict status=200"
    assert TextFormatter().format(record("Serving")) == "Serving"
