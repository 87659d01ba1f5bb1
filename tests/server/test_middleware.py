"""What a request passes before it is routed: who asks, the log, who is let in, who has gone."""

import asyncio
import json
import logging
import re
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from doctor_derma.cpus import usable_cpus
from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.app import create_app
from doctor_derma.server.engine.engine import Draining, Overloaded
from doctor_derma.server.logs import CURRENT, REQUEST_LOGGER, JsonFormatter, RequestRecord
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.middleware import cancel_on_disconnect, forwarded_for, shed_load
from doctor_derma.server.settings import Settings
from doctor_derma.server.shedding import Shedding
from server.fake_engine import encoded
from server.server_process import served
from tiny_bundle import RED

PROXY = "10.9.9.9"
PICTURE = encoded(RED)


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


def test_a_request_is_one_line(client: TestClient, log: list) -> None:
    response = client.post("/v1/predict?activation_map=png", files={"image": ("me.png", PICTURE)})
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
    files = [("images", PICTURE) for _ in range(3)] + [("images", b"nonsense")]
    assert client.post("/v1/predict", files=files).status_code == 200
    assert log[0]["pictures"] == 3


def test_the_log_says_nothing_of_a_client(client: TestClient, log: list) -> None:
    client.post("/v1/predict", files={"image": ("jane_doe.png", PICTURE)})
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


def test_head_is_logged_as_what_was_asked_for(client: TestClient, log: list) -> None:
    for path in ("/v1/model", "/healthz", "/static/app.js", "/nothing"):
        client.head(path)
    asked = [(line["method"], line["path"]) for line in log]
    assert asked == [("HEAD", path) for path in ("/v1/model", "/static", "unknown")]


def test_a_crash_is_an_error_in_the_log_with_the_request(
    client: TestClient, log: list, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*arguments: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(client.app.state.engine, "predict", broken)  # type: ignore[attr-defined]
    response = client.post("/v1/predict", files={"image": PICTURE})
    assert response.status_code == 500
    assert (log[0]["level"], log[0]["status"]) == ("error", 500)
    assert response.json()["instance"] == log[0]["request_id"]
    assert "out of luck" in caplog.text


@pytest.mark.parametrize(
    ("value", "clients"),
    [
        ("for=192.0.2.43", ["192.0.2.43"]),
        ("For=192.0.2.43;proto=http;by=203.0.113.43", ["192.0.2.43"]),
        ("by=203.0.113.43 ; for=192.0.2.43", ["192.0.2.43"]),
        ('for=192.0.2.43, for="[2001:db8:cafe::17]"', ["192.0.2.43", "2001:db8:cafe::17"]),
        ('for="[2001:db8:cafe::17]:4711"', ["[2001:db8:cafe::17]:4711"]),
        ('for="192.0.2.43:4711"', ["192.0.2.43:4711"]),
        ('for=unknown, for="_hid\\den"', ["unknown", "_hidden"]),
        # What a stranger sends, before what the proxy adds.
        ('for="192.0.2.1, for=10.0.0.1', []),
        ('for="192.0.2.1\\", for=10.0.0.1', []),
        ('by=", for=192.0.2.1", for=10.0.0.1', []),
        ('for="192.0.2.1,192.0.2.2", for=10.0.0.1', []),
        ("for=, for=10.0.0.1", []),
        ("for=192.0.2.1,, for=10.0.0.1", []),
        ("for=192.0.2.1 for=10.0.0.1", []),
        ("proto=https", []),
        ("", []),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(value: str, clients: list[str]) -> None:
    assert forwarded_for(value) == clients


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        (PROXY, [("Forwarded", "for=192.0.2.43")], "192.0.2.43"),
        (PROXY, [("X-Forwarded-For", "192.0.2.43")], "192.0.2.43"),
        # The nearest proxy's word counts, and what a stranger says before it does not.
        (PROXY, [("Forwarded", "for=1.2.3.4, for=192.0.2.43")], "192.0.2.43"),
        (PROXY, [("Forwarded", "for=1.2.3.4"), ("Forwarded", "for=192.0.2.43")], "192.0.2.43"),
        (PROXY, [("Forwarded", f'for="[2001:db8::1]:80", for={PROXY}')], "2001:db8::1"),
        (PROXY, [("Forwarded", "for=192.0.2.4"), ("X-Forwarded-For", "192.0.2.4")], "192.0.2.4"),
        # A proxy that adds one of the two may pass on the other.
        (PROXY, [("Forwarded", "for=1.2.3.4"), ("X-Forwarded-For", "192.0.2.4")], PROXY),
        (PROXY, [("Forwarded", 'for="1.2.3.4, for=192.0.2.43')], PROXY),
        ("192.0.2.99", [("Forwarded", "for=1.2.3.4")], "192.0.2.99"),
        ("192.0.2.99", [("X-Forwarded-For", "1.2.3.4")], "192.0.2.99"),
    ],
)
def test_only_a_trusted_proxy_says_who_asks(
    bundle: Path,
    log: list,
    monkeypatch: pytest.MonkeyPatch,
    peer: str,
    headers: list[tuple[str, str]],
    client: str,
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", PROXY)
    app = create_app(bundle, Settings(log_clients=True))
    with TestClient(app, client=(peer, 1)) as asking:
        asking.get("/v1/model", headers=headers)
    assert log[0]["client"] == client


@pytest.mark.slow
def test_the_clients_of_a_proxy_have_a_limit_each(bundle: Path) -> None:
    """Behind a proxy on this machine, the word of which is taken unless it is set otherwise."""
    head = {"Content-Type": "image/png"}

    async def scenario(url: str) -> list[int]:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:

            async def ask(name: str) -> int:
                sent = {**head, "Forwarded": f"for={name}"}
                answer = await client.post("/v1/predict", content=PICTURE, headers=sent)
                return answer.status_code

            names = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
            return sorted(await asyncio.gather(*map(ask, names)))

    with served(bundle, 0.5, {"DERMA_PER_CLIENT_LIMIT": "1"}) as server:
        assert asyncio.run(scenario(server.url)) == [200, 200, 200, 429]


class Engine:
    """Refuses what it is told to refuse."""

    def __init__(self, busy: Overloaded | None = None) -> None:
        self.busy = busy
        self.ready = not isinstance(busy, Draining)

    def refusal(self, coming: int = 0) -> Overloaded | None:
        return self.busy


class App:
    """Holds requests until they are let go, and counts them."""

    def __init__(self) -> None:
        self.entered = 0
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered += 1
        await self.may_end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def unread() -> Any:
    raise AssertionError("something of the request was read")


class Visitor:
    """Asks to be let in, and keeps the answers."""

    def __init__(self, shedding: ASGIApp) -> None:
        self._shedding = shedding

    async def ask(
        self, path: str = "/v1/predict", method: str = "POST", client: str = "10.0.0.1"
    ) -> tuple[int, dict[str, str]]:
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {"type": "http", "method": method, "path": path, "client": (client, 1)}
        await self._shedding(scope, unread, send)
        headers = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
        return messages[0]["status"], headers


@pytest.fixture
def metrics(classifier: Classifier) -> Metrics:
    return Metrics(classifier.info)


def make(
    metrics: Metrics, busy: Overloaded | None = None, per_client: int = 48
) -> tuple[App, Visitor]:
    app = App()
    shedding = Shedding(Engine(busy), metrics, per_client)  # type: ignore[arg-type]
    return app, Visitor(shed_load(app, shedding))


def refused(metrics: Metrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value("derma_refused_pictures_total", {"reason": reason})


def test_who_finds_no_room_is_told_when_to_come_again(metrics: Metrics) -> None:
    async def scenario() -> None:
        app, client = make(metrics, Overloaded(7))
        for path in ("/predict", "/v1/predict"):
            status, headers = await client.ask(path)
            assert (status, headers["retry-after"]) == (503, "7")
            assert headers["content-type"] == "application/problem+json"
        assert app.entered == 0

    asyncio.run(scenario())
    assert refused(metrics, "overloaded") == 2


def test_batches_wait_for_room_and_pages_need_none(metrics: Metrics) -> None:
    async def scenario() -> None:
        app, client = make(metrics, Overloaded(7))
        app.may_end.set()
        assert (await client.ask("/v1/predict/batch"))[0] == 200
        assert (await client.ask("/healthz", "GET"))[0] == 200

    asyncio.run(scenario())


def test_a_server_that_stops_takes_no_pictures_of_any_kind(metrics: Metrics) -> None:
    async def scenario() -> None:
        app, client = make(metrics, Draining(1))
        for path in ("/v1/predict", "/v1/predict/batch"):
            status, headers = await client.ask(path)
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        app.may_end.set()
        assert (await client.ask("/healthz", "GET"))[0] == 200

    asyncio.run(scenario())
    assert refused(metrics, "draining") == 2


def test_who_was_let_in_stays_and_is_told_to_close(metrics: Metrics) -> None:
    async def scenario() -> None:
        app = App()
        engine = Engine()
        client = Visitor(shed_load(app, Shedding(engine, metrics, 48)))  # type: ignore[arg-type]
        record = RequestRecord("id")
        CURRENT.set(record)
        task = asyncio.create_task(client.ask())
        await asyncio.sleep(0)
        assert record.accepted
        engine.busy, engine.ready = Draining(1), False
        app.may_end.set()
        status, headers = await task
        assert (status, headers["connection"]) == (200, "close")

    asyncio.run(scenario())


def test_one_address_has_no_more_than_its_share(metrics: Metrics) -> None:
    async def scenario() -> None:
        app, client = make(metrics, per_client=2)
        tasks = [asyncio.create_task(client.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        status, headers = await client.ask()
        assert (status, headers["retry-after"]) == (429, "1")
        another = asyncio.create_task(client.ask(client="10.0.0.2"))
        await asyncio.sleep(0)
        app.may_end.set()
        assert [each[0] for each in await asyncio.gather(*tasks, another)] == [200] * 3
        assert (await client.ask())[0] == 200

    asyncio.run(scenario())
    assert refused(metrics, "client_limit") == 1


def test_addresses_that_have_left_are_forgotten(metrics: Metrics) -> None:
    app = App()
    shedding = Shedding(Engine(), metrics, per_client=2)  # type: ignore[arg-type]

    async def scenario() -> None:
        visitor = Visitor(shed_load(app, shedding))
        tasks = [asyncio.create_task(visitor.ask(client=f"10.0.0.{i}")) for i in range(50)]
        await asyncio.sleep(0)
        assert shedding.clients == 50
        app.may_end.set()
        await asyncio.gather(*tasks)
        assert shedding.clients == 0

    asyncio.run(scenario())


BODY = {"type": "http.request", "body": b"a picture", "more_body": False}
GONE = {"type": "http.disconnect"}
SCOPE = {"type": "http", "method": "POST", "path": "/v1/predict"}


class Asking:
    """What a client sends, one message after the other; without more, it waits."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.coming = deque(messages)
        self.leaves = asyncio.Event()
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        if not self.coming:
            await self.leaves.wait()
            return GONE
        return self.coming.popleft()

    async def send(self, message: Any) -> None:
        self.sent.append(message["type"])
        if message["type"] == "http.response.body":
            self.leaves.set()  # As servers do: an answered request is over.
            await asyncio.sleep(0)


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"an answer"})


def test_the_work_ends_when_the_client_goes() -> None:
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"a picture"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def scenario() -> None:
        connection = Asking(BODY)
        request = cancel_on_disconnect(app)(SCOPE, connection.receive, connection.send)
        task = asyncio.create_task(request)  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        connection.leaves.set()
        await asyncio.wait_for(task, 5)
        assert not task.cancelling()

    asyncio.run(scenario())
    assert ended == ["cancelled"]


def test_an_answer_is_no_departure() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await answer(send)
        await asyncio.sleep(0.01)
        done.append(True)

    done: list[bool] = []

    async def scenario() -> None:
        connection = Asking(BODY)
        await cancel_on_disconnect(app)(SCOPE, connection.receive, connection.send)
        assert connection.sent == ["http.response.start", "http.response.body"]

    asyncio.run(scenario())
    assert done == [True]


def test_a_body_in_parts_arrives_whole_and_a_cut_one_is_the_reader_s_affair() -> None:
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in (b"a", b"b")]
    received: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            received.append(await receive())
        await answer(send)

    async def scenario() -> None:
        for last in (BODY, GONE):
            connection = Asking(*parts, last)
            await cancel_on_disconnect(app)(SCOPE, connection.receive, connection.send)
            assert received[-3:] == [*parts, last]
            assert connection.sent[-1] == "http.response.body"

    asyncio.run(scenario())


def test_cancelled_from_outside_is_cancelled() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(60)

    async def scenario() -> None:
        connection = Asking(BODY)
        request = cancel_on_disconnect(app)(SCOPE, connection.receive, connection.send)
        task = asyncio.create_task(request)  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


@pytest.mark.slow
def test_clients_that_hang_up_leave_the_queue_of_a_real_server(bundle: Path) -> None:
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(PICTURE)}\r\n\r\n"
    )
    # A batch more than processors is under way, and one picture comes afterwards.
    most = (usable_cpus() + 1) * Settings().max_batch + 1
    count = 2 * most
    with served(bundle, seconds=0.2) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            clients = [socket.create_connection(address) for _ in range(count)]
            for each in clients:
                each.sendall(head.encode() + PICTURE)
            while f"derma_waiting_pictures {count}.0" not in client.get("/metrics").text:
                pass
            for each in clients:
                each.close()
            assert client.post("/v1/predict", files={"image": PICTURE}).status_code == 200
            figures = client.get("/metrics").text
        server.stop()
        log = server.lines()
    assert "derma_waiting_pictures 0.0" in figures
    assert f'derma_refused_pictures_total{{reason="gone"}} {count}.0' in figures
    # What was in the network already was finished, and the last picture; the others never went in.
    assert float(re.findall(r"^derma_batch_pictures_sum (\S+)$", figures, re.MULTILINE)[0]) <= most
    posts = [line["status"] for line in log if line.get("method") == "POST"]
    assert sorted(posts) == [200] + [499] * count
