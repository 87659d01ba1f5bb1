"""``GET /metrics``: what happened is in it, and only those who may see it do."""

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from doctor_derma.server.app import create_app
from doctor_derma.server.settings import Settings
from server.fake_engine import encoded
from tiny_bundle import CLASSES as NAMED
from tiny_bundle import GREEN, PATIENT, RED, write_bundle

WHITE = (255, 255, 255)
CLASSES = [name for name, _ in NAMED]


@pytest.fixture
def client(bundle: Path) -> Iterator[TestClient]:
    with TestClient(create_app(bundle)) as client:
        yield client


def send(client: TestClient, colour: tuple[int, int, int], **asked: str) -> None:
    client.post("/v1/predict", files={"image": encoded(colour)}, params=asked)


def figures(client: TestClient) -> dict[tuple[str, frozenset], float]:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def figure(client: TestClient, name: str, **labels: str) -> float:
    return figures(client)[name, frozenset(labels.items())]


def test_what_happened_is_counted(client: TestClient) -> None:
    for colour in (RED, RED, GREEN, WHITE):
        send(client, colour)
    client.post("/v1/predict", files={"image": b"nonsense"})
    client.get("/somewhere/else")
    found = figures(client)

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    post = {"method": "POST", "route": "/v1/predict"}
    assert value("derma_request_seconds_count", status="200", **post) == 4
    assert value("derma_request_seconds_count", status="415", **post) == 1
    assert value("derma_request_seconds_count", method="GET", route="unknown", status="404") == 1
    assert value("derma_picture_seconds_count", stage="network") == 4
    assert value("derma_batch_pictures_sum") == 4
    # White has no evidence for one class over another, and the first of equals is the label.
    assert value("derma_predictions_total", label="mel") == 3
    assert value("derma_predictions_total", label="nv") == 1
    assert value("derma_predictions_total", label="vasc") == 0
    assert value("derma_abstentions_total", reason="unfamiliar") == 1
    assert value("derma_abstentions_total", reason="unsure") == 0
    assert value("derma_refused_pictures_total", reason="unreadable") == 1
    assert value("derma_refused_pictures_total", reason="overloaded") == 0
    assert value("derma_waiting_pictures") == 0
    assert value("process_resident_memory_bytes") > 1e6


def test_what_drift_does_not_count_is_not_comparable(tmp_path: Path) -> None:
    with TestClient(create_app(write_bundle(tmp_path / "bundle", patient=PATIENT))) as client:
        send(client, RED)
        send(client, RED, rule="balanced")
        send(client, RED, age="40")
        send(client, RED, rule="most-probable")
        found = figures(client)
    for name, pictures in (("predictions", 4), ("comparable_predictions", 2)):
        counted = {label: found[f"derma_{name}_total", frozenset({("label", label)})]
                   for label in CLASSES}  # fmt: skip
        assert counted == {"mel": pictures, "nv": 0, "vasc": 0}


def test_what_the_bundle_expects_is_there_beside_what_came(client: TestClient) -> None:
    shares = {name: figure(client, "derma_expected_share", label=name) for name in CLASSES}
    # The class shares of its training images, as the bundle says nothing of its calls.
    assert shares == pytest.approx({"mel": 0.2, "nv": 0.7, "vasc": 0.1})


def test_memory_is_that_of_the_process_and_of_its_children(client: TestClient) -> None:
    alone = figure(client, "derma_resident_bytes")
    assert alone == pytest.approx(figure(client, "process_resident_memory_bytes"), rel=0.1)
    size = 50_000_000
    hold = f"held = b'x' * {size}; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        child.stdout.readline()
        together = figure(client, "derma_resident_bytes")
        child.communicate(b"\n")
    assert size < together - alone < 2 * size


def test_the_model_is_named(client: TestClient) -> None:
    names = [dict(labels) for name, labels in figures(client) if name == "derma_model"]
    assert [(each["name"], each["run"]) for each in names] == [("tiny", "0123456789abcdef")]


def test_drift_is_unknown_and_then_known(client: TestClient) -> None:
    assert math.isnan(figure(client, "derma_class_drift"))
    metrics = client.app.state.metrics  # type: ignore[attr-defined]
    prediction = client.app.state.classifier.predict(Image.new("RGB", (8, 8), RED))[0]  # type: ignore[attr-defined]
    for _ in range(200):
        metrics.predicted(prediction)
    assert figure(client, "derma_class_drift") > 0.25
    assert figure(client, "derma_input_share", oddity="unfamiliar") == 0


def test_openmetrics_for_those_who_ask(client: TestClient) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    response = client.get("/metrics", headers=accept)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_no_path_of_a_client_becomes_a_label(client: TestClient) -> None:
    for index in range(20):
        client.get(f"/made-up/{index}")
        client.get(f"/problems/{index}")
    assert "made-up" not in client.get("/metrics").text
    routes = {dict(labels).get("route") for _, labels in figures(client)}
    assert routes >= {"unknown", "/problems/{name}", "/metrics"}


def test_with_keys_they_are_for_those_who_have_one(bundle: Path) -> None:
    with TestClient(create_app(bundle, Settings(api_keys=frozenset({"key"})))) as client:
        assert client.get("/metrics").status_code == 401
        response = client.get("/metrics", headers={"Authorization": "Bearer key"})
        assert response.status_code == 200
