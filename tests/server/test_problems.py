"""Every error is a problem in the sense of RFC 9457, and its type leads to an explanation."""

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.access import SECURITY_HEADERS
from doctor_derma.server.engine.engine import DeadlineExceeded, Draining, Overloaded
from doctor_derma.server.problems import PROBLEM_TYPES
from server.fake_engine import FakeEngine, encoded, make_api
from tiny_bundle import RED


@pytest.fixture
def engine(classifier: Classifier) -> FakeEngine:
    return FakeEngine(classifier)


@pytest.fixture
def client(engine: FakeEngine, bundle: Path) -> Iterator[TestClient]:
    with TestClient(make_api(engine, bundle)) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "name"),
    [
        ("GET", "/nothing", {}, 404, "not-found"),
        ("GET", "/a/b%2Fc/d/", {}, 404, "not-found"),
        ("GET", "/problems/nothing", {}, 404, "not-found"),
        ("GET", "/v1/model/card", {}, 404, "not-found"),
        ("DELETE", "/v1/predict", {}, 405, "wrong-method"),
        ("POST", "/v1/predict", {}, 415, "wrong-type"),
        ("POST", "/v1/predict", {"json": {}}, 415, "wrong-type"),
        ("POST", "/v1/predict", {"files": {"image": b"x"}}, 415, "wrong-type"),
        ("POST", "/v1/predict", {"files": {"image": b""}}, 422, "unreadable"),
        ("POST", "/v1/predict", {"files": {"other": b"x"}}, 422, "unreadable"),
        ("POST", "/v1/predict/batch", {"files": {"other": b"x"}}, 422, "unreadable"),
        ("POST", "/v1/predict?activation_map=svg", {"files": {"image": b"x"}}, 422, "invalid"),
    ],
)
def test_an_error_is_a_problem(
    client: TestClient, method: str, path: str, sent: dict, status: int, name: str
) -> None:
    response = client.request(method, path, **sent)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body["status"] == status
    # It is relative, as the server may lie under a path that it doesn't know.
    assert urljoin(path, body["type"]) == f"/problems/{name}"
    assert urljoin(f"/user/me/proxy/5555{path}", body["type"]).startswith("/user/me/proxy/5555/p")
    assert body["detail"].endswith(".")
    explanation = client.get(urljoin(path, body["type"]))
    assert explanation.status_code == 200
    assert body["title"] in unescape(explanation.text)


def test_a_method_that_is_not_allowed_is_told_the_right_one(client: TestClient) -> None:
    response = client.get("/v1/predict")
    assert response.headers["allow"] == "POST"
    assert response.json()["detail"] == "GET is not possible here, but POST is."


@pytest.mark.parametrize(
    ("error", "name", "wait"),
    [
        (Overloaded(3), "overloaded", "3"),
        (Draining(5), "not-ready", "5"),
        (DeadlineExceeded(), "late", "1"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/v1/predict"])
def test_what_the_engine_refuses_can_be_sent_again(
    client: TestClient, engine: FakeEngine, path: str, error: Exception, name: str, wait: str
) -> None:
    engine.errors.append(error)
    response = client.post(path, files={"image": encoded(RED)})
    assert response.status_code == 503
    assert response.headers["retry-after"] == wait
    assert urljoin(path, response.json()["type"]) == f"/problems/{name}"


def test_a_crash_is_a_problem_that_tells_nothing_but_is_logged(
    client: TestClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.errors.append(RuntimeError("secret"))
    response = client.post("/v1/predict", files={"image": encoded(RED)})
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "../problems/failed"
    assert "secret" not in response.text
    assert "RuntimeError: secret" in caplog.text
    for name, value in SECURITY_HEADERS.items():
        assert response.headers[name] == value


def test_the_overview_lists_every_kind(client: TestClient) -> None:
    overview = client.get("/problems").text
    for kind in PROBLEM_TYPES:
        assert f'href="problems/{kind.name}"' in overview
    assert len({kind.name for kind in PROBLEM_TYPES}) == len(PROBLEM_TYPES)


def test_readiness_follows_the_engine(client: TestClient, engine: FakeEngine) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}
    engine.ready = False
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert client.get("/healthz").json()["status"] == "ok"


def test_openapi_shows_every_error_with_an_example(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == {
        *("type", "title", "status", "detail", "instance")
    }
    for path in ("/v1/predict", "/v1/predict/batch", "/predict"):
        responses = document["paths"][path]["post"]["responses"]
        assert set(responses) == {
            *("200", "400", "401", "408", "413", "415", "422", "429", "500", "503", "default")
        }
        for status, response in responses.items():
            if status in ("200", "default"):
                continue
            (content,) = response["content"].values()
            for example in content["examples"].values():
                assert example["value"]["status"] == int(status)
                assert client.get(example["value"]["type"]).status_code == 200
