"""The server's answers, good and bad."""

import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor_derma.errors import DermaError
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.app import create_app
from doctor_derma.server.settings import Settings
from doctor_derma.server.uploads import MAX_IMAGE_BYTES
from server.fake_engine import encoded
from tiny_bundle import BETWEEN, GREEN, RED

FORM = {"content-type": "multipart/form-data; boundary=edge"}
PART = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
END = b"\r\n--edge--\r\n"


@pytest.fixture(scope="session")
def client(bundle: Path) -> Iterator[TestClient]:
    with TestClient(create_app(bundle)) as client:
        yield client


def test_a_picture_gets_ranked_probabilities_and_a_map(
    client: TestClient, classifier: Classifier
) -> None:
    picture = encoded(GREEN)
    response = client.post("/predict", files={"image": ("mole.png", picture)})
    assert response.status_code == 200
    body = response.json()
    expected = classifier.predict(picture)[0]
    assert (body["label"], body["full_name"]) == ("nv", "Melanocytic nevus")
    assert body["notice"] == NOTICE
    found = {each["name"]: each["probability"] for each in body["probabilities"]}
    assert found == pytest.approx(expected.probabilities)
    ranked = [each["probability"] for each in body["probabilities"]]
    assert ranked == sorted(ranked, reverse=True)
    np.testing.assert_allclose(body["activation_map"], expected.activation_map, rtol=1e-6)
    assert body["model"] == {
        "name": "tiny",
        "run": "0123456789abcdef",
        "weights_sha256": classifier.info.weights.sha256,
    }


@pytest.mark.parametrize(
    "format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000"]
)
def test_every_announced_format_is_read(client: TestClient, format: str) -> None:
    response = client.post("/predict", files={"image": encoded(RED, format)})
    assert response.json()["label"] == "mel"


@pytest.mark.parametrize(
    ("format", "said"),
    [
        ("EPS", "PostScript: export it as PNG."),
        ("PDF", "PDF: export the picture in it as JPEG or PNG."),
        ("TGA", "Not a picture that can be read; send JPEG, PNG"),
    ],
)
def test_other_formats_are_refused(client: TestClient, format: str, said: str) -> None:
    response = client.post("/predict", files={"image": encoded(RED, format)})
    assert response.status_code == 415
    assert response.json()["detail"].startswith(said)


def test_health_and_model(client: TestClient, classifier: Classifier) -> None:
    health = client.get("/healthz").json()
    assert health["status"] == "ok"
    assert health["providers"] == ["CPUExecutionProvider"]
    assert health["model"]["weights_sha256"] == classifier.info.weights.sha256
    model = client.get("/model").json()
    assert model["metrics"] == {"val": {"balanced_accuracy": 0.75, "macro_auc": 0.9}}
    assert model["data"]["licence"] == "CC0-1.0"
    assert model["notice"] == NOTICE


@pytest.mark.parametrize(
    ("picture", "status", "reason"),
    [
        (b"not a picture", 415, "Not a picture that can be read; send JPEG"),
        (b"", 422, "Empty file"),
        (encoded(RED, "BMP")[:2000], 422, "Corrupt or truncated picture"),
    ],
)
def test_a_bad_picture_gets_a_reason(
    client: TestClient, picture: bytes, status: int, reason: str
) -> None:
    response = client.post("/predict", files={"image": ("x.jpg", picture)})
    assert response.status_code == status
    assert response.json()["detail"].startswith(reason)


def test_a_picture_with_too_many_pixels_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doctor_derma.images.decoding.MAX_PIXELS", 1000)
    response = client.post("/predict", files={"image": encoded(RED)})
    assert response.status_code == 413
    assert "40x30 pixels: more than 1,000" in response.json()["detail"]


@pytest.mark.parametrize(
    ("request_parts", "status", "reason"),
    [
        ({"json": {}}, 415, "multipart/form-data"),
        ({"data": {"image": "x"}}, 415, "multipart/form-data"),
        ({"files": {"file": b"x"}}, 422, "no file in the field 'image'"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        ({"content": b"nonsense", "headers": FORM}, 400, "can't be read"),
        ({"files": [("image", b"1"), ("image", b"2")]}, 400, "Too many files"),
    ],
)
def test_a_request_without_a_picture_gets_a_reason(
    client: TestClient, request_parts: dict, status: int, reason: str
) -> None:
    response = client.post("/predict", **request_parts)
    assert response.status_code == status
    assert reason in response.json()["detail"]


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=300))
def test_no_body_breaks_the_server(client: TestClient, body: bytes) -> None:
    for content in (body, PART + body, PART + body + END):
        response = client.post("/predict", content=content, headers=FORM)
        assert 400 <= response.status_code < 500
        assert response.json()["detail"]


def test_the_limit_is_20_megabytes(client: TestClient) -> None:
    padded = encoded(RED).ljust(MAX_IMAGE_BYTES, b"\0")
    assert client.post("/predict", files={"image": padded}).status_code == 200
    response = client.post("/predict", files={"image": padded + b"\0"})
    assert response.status_code == 413
    assert "over 20 MB" in response.json()["detail"]


def test_reading_stops_at_the_limit(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield PART
        while True:
            sent += 1_000_000
            assert sent < 2 * MAX_IMAGE_BYTES, "the server reads on"
            yield bytes(1_000_000)

    # The test client gathers a body before it sends it, so the application is asked itself.
    chunks = endless()

    async def receive() -> dict:
        return {"type": "http.request", "body": next(chunks), "more_body": True}

    status = ask_directly(client, receive)
    assert status == 413
    assert sent == MAX_IMAGE_BYTES + 1_000_000


def ask_directly(client: TestClient, receive: Callable[[], Awaitable[dict]]) -> int:
    """Return the status of the answer to a form whose messages ``receive`` gives."""
    statuses = []

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "headers": [(b"content-type", FORM["content-type"].encode())],
        "query_string": b"",
    }
    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)
    return statuses[0]


def test_a_cut_off_upload_is_no_server_error(client: TestClient) -> None:
    async def receive() -> dict:
        return {"type": "http.disconnect"}

    assert ask_directly(client, receive) == 400


def test_pictures_are_never_stored(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def stored(*args: object, **settings: object) -> None:
        raise AssertionError("a picture went to a file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", stored)
    padded = encoded(RED).ljust(MAX_IMAGE_BYTES, b"\0")
    assert client.post("/predict", files={"image": padded}).status_code == 200


def test_a_metric_that_is_undefined_is_left_out(bundle: Path, tmp_path: Path) -> None:
    info = json.loads((bundle / "model.json").read_text())
    info["metrics"]["val"]["auc_df"] = float("nan")
    (tmp_path / "model.json").write_text(json.dumps(info))
    (tmp_path / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes())
    with TestClient(create_app(tmp_path)) as client:
        metrics = client.get("/model").json()["metrics"]
    assert list(metrics["val"]) == ["balanced_accuracy", "macro_auc"]


def test_the_server_may_be_given_its_rule(bundle: Path) -> None:
    with TestClient(create_app(bundle, Settings(rule="balanced"))) as client:
        found = client.post("/predict", files={"image": encoded(BETWEEN)}).json()
        assert (found["label"], found["rule"]) == ("mel", "balanced")
        plain = "/v1/predict?rule=most-probable"
        assert client.post(plain, files={"image": encoded(BETWEEN)}).json()["label"] == "nv"
        assert client.get("/v1/model").json()["decision"]["default"] == "balanced"
    with pytest.raises(DermaError, match="rule 'costs': this model has no costs"):
        create_app(bundle, Settings(rule="costs"))


def test_without_a_bundle_there_is_no_app(tmp_path: Path) -> None:
    with pytest.raises(DermaError, match="no model bundle here"):
        create_app(tmp_path)
