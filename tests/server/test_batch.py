"""``POST /v1/predict/batch``: lines in order, while pictures come, in bounded memory."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient

from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.answers import pictures_ahead
from doctor_derma.server.engine.engine import Overloaded
from doctor_derma.server.settings import Settings
from doctor_derma.server.uploads import MAX_IMAGE_BYTES
from server.fake_engine import FakeEngine, encoded, make_api
from tiny_bundle import BLUE, GREEN, RED

EDGE = b"--edge\r\n"
HEAD = b'Content-Disposition: form-data; name="images"; filename="private.png"\r\n\r\n'
SETTINGS = Settings(queue_limit=8, max_batch=2)
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/predict/batch",
    "headers": [(b"content-type", b"multipart/form-data; boundary=edge")],
    "query_string": b"",
}


@pytest.fixture
def engine(classifier: Classifier) -> FakeEngine:
    return FakeEngine(classifier)


@pytest.fixture
def client(engine: FakeEngine, bundle: Path) -> Iterator[TestClient]:
    with TestClient(make_api(engine, bundle, SETTINGS)) as client:
        yield client


def lines(response: Any) -> list[dict]:
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in response.text.splitlines()]


def test_lines_come_in_the_order_of_the_pictures(client: TestClient, engine: FakeEngine) -> None:
    engine.delays += [0.05, 0.0, 0.02, 0.0]
    sent = [encoded(RED), encoded(GREEN), b"", encoded(BLUE)]
    response = client.post("/v1/predict/batch", files=[("images", picture) for picture in sent])
    assert response.status_code == 200
    found = lines(response)
    assert [line["index"] for line in found] == [0, 1, 2, 3]
    labels = [line["answer"] and line["answer"]["label"] for line in found]
    assert labels == ["mel", "nv", None, "vasc"]
    assert found[2]["problem"]["detail"] == "Empty file."
    assert "private" not in response.text


def test_maps_are_sent_on_request(client: TestClient) -> None:
    files = [("images", encoded(RED))]
    (line,) = lines(client.post("/v1/predict/batch?activation_map=grid", files=files))
    assert len(line["answer"]["activation_map"]) == 4


def test_few_pictures_are_ahead_and_their_memory_is_given_back(
    classifier: Classifier, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = encoded(RED, "BMP").ljust(100_000, b"\0")
    # All 40 together don't fit, the few that are ahead and the form that brings them do.
    monkeypatch.setattr("doctor_derma.server.routes.predict.BATCH_BYTES", 6 * len(picture))
    monkeypatch.setattr("doctor_derma.server.routes.predict.MAX_IMAGE_BYTES", len(picture))
    engine = FakeEngine(classifier)
    with TestClient(make_api(engine, bundle, SETTINGS)) as client:
        found = lines(client.post("/v1/predict/batch", files=[("images", picture)] * 40))
    assert [line["answer"]["label"] for line in found] == ["mel"] * 40
    assert engine.most_at_once == pictures_ahead(SETTINGS) == 4


def test_a_large_picture_is_read_when_there_is_room_for_it(client: TestClient) -> None:
    picture = encoded(RED).ljust(15_000_000, b"\0")
    found = lines(client.post("/v1/predict/batch", files=[("images", picture)] * 2))
    assert [line["answer"] and line["answer"]["label"] for line in found] == ["mel", "mel"]


class Crowded(FakeEngine):
    """Has no room for the first picture before it is asked again; keeps what it is asked for."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(classifier)
        self.asked: list[bytes] = []

    async def attempt(self, encoded: bytes, *told: Any) -> Prediction:
        self.asked.append(encoded)
        if len(self.asked) == 1:
            raise Overloaded(1)
        return await super().attempt(encoded, *told)


def test_no_picture_is_taken_while_another_waits_for_room(
    classifier: Classifier, bundle: Path
) -> None:
    engine = Crowded(classifier)
    first, *others = sent = [encoded(RED), *[encoded(BLUE)] * 11]
    with TestClient(make_api(engine, bundle, SETTINGS)) as client:
        found = lines(client.post("/v1/predict/batch", files=[("images", each) for each in sent]))
    assert [line["answer"]["label"] for line in found] == ["mel", *["vasc"] * 11]
    # Before it is asked for again, only those that were ahead together with it.
    assert engine.asked.index(first, 1) <= pictures_ahead(SETTINGS) == 4
    assert engine.asked.count(others[0]) == 11
    assert engine.given_up == []


def test_a_form_that_breaks_off_tells_so_after_the_answers(client: TestClient) -> None:
    whole = EDGE + HEAD + encoded(RED) + b"\r\n" + EDGE + HEAD + b"half"
    response = client.post(
        "/v1/predict/batch",
        content=whole,
        headers={"content-type": "multipart/form-data; boundary=edge"},
    )
    first, last = lines(response)
    assert first["answer"]["label"] == "mel"
    assert (last["index"], last["answer"]) == (None, None)
    assert last["problem"]["type"] == "../../problems/malformed"


def test_a_large_picture_is_skipped(client: TestClient) -> None:
    files = [("images", bytes(MAX_IMAGE_BYTES + 1)), ("images", encoded(BLUE))]
    first, second = lines(client.post("/v1/predict/batch", files=files))
    assert first["problem"]["type"] == "../../problems/too-large"
    assert second["answer"]["label"] == "vasc"


def test_answers_go_out_while_pictures_come_in(engine: FakeEngine, bundle: Path) -> None:
    """The second picture is sent only after the first one's answer has come."""
    answered = anyio.Event()
    received: list[bytes] = []
    body = iter(
        [EDGE + HEAD + encoded(RED) + b"\r\n" + EDGE, HEAD + encoded(BLUE), b"\r\n--edge--"]
    )

    async def chunks() -> AsyncIterator[dict]:
        yield {"type": "http.request", "body": next(body), "more_body": True}
        await answered.wait()
        yield {"type": "http.request", "body": next(body), "more_body": True}
        yield {"type": "http.request", "body": next(body), "more_body": False}

    async def send(message: dict) -> None:
        if message.get("body"):
            received.append(message["body"])
            answered.set()

    async def ask() -> None:
        coming = chunks()
        with anyio.fail_after(5):
            await make_api(engine, bundle)(dict(SCOPE), lambda: anext(coming), send)

    anyio.run(ask)
    assert [json.loads(line)["answer"]["label"] for line in received] == ["mel", "vasc"]


def test_a_client_that_goes_away_ends_the_work(engine: FakeEngine, bundle: Path) -> None:
    chunks = iter([EDGE + HEAD + encoded(RED) + b"\r\n" + EDGE])
    received: list[bytes] = []

    async def receive() -> dict:
        if chunk := next(chunks, b""):
            return {"type": "http.request", "body": chunk, "more_body": True}
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        received.append(message.get("body", b""))

    async def ask() -> None:
        with anyio.fail_after(5):
            await make_api(engine, bundle)(dict(SCOPE), receive, send)

    anyio.run(ask)
    assert b"cut off" in received[-2]
