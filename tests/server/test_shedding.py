"""Early refusals: the answer, whom they are for, and that the connection goes on."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from doctor_derma.server import http as protocol
from doctor_derma.server.app import build_app
from doctor_derma.server.engine.engine import Classifiers
from doctor_derma.server.http import BoundedProtocol
from doctor_derma.server.settings import Settings
from doctor_derma.server.shedding import Shedding
from server.engine.acting import ActingClassifier
from server.fake_engine import encoded
from tiny_bundle import RED

PICTURE = encoded(RED)
LENGTH = f"Content-Length: {len(PICTURE)}\r\n".encode()


def request(*headers: bytes, path: bytes = b"/v1/predict", length: bytes = LENGTH) -> bytes:
    lines = (b"POST %s HTTP/1.1\r\nHost: test\r\nContent-Type: image/png\r\n" % path, length)
    return b"".join(lines) + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + PICTURE


@contextmanager
def listening(bundle: Path, **limits: int) -> Iterator[tuple[tuple[str, int], ActingClassifier]]:
    """Serve a classifier that waits until it may end."""
    acting = ActingClassifier(bundle)
    app = build_app(Classifiers(acting, acting, 1), bundle, Settings(**limits))  # type: ignore[arg-type]
    server = uvicorn.Server(
        uvicorn.Config(
            app, port=0, http=BoundedProtocol, proxy_headers=False, log_level="error", ws="none"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname(), acting
    finally:
        acting.may_end.set()
        server.should_exit = True
        thread.join()


@contextmanager
def busy(bundle: Path, **limits: int) -> Iterator[tuple[tuple[str, int], ActingClassifier]]:
    """Serve with one picture in the engine, which is as many as may be there."""
    with listening(bundle, **({"queue_limit": 1} | limits)) as (address, acting):
        acting.may_end.clear()
        with socket.create_connection(address) as first:
            first.sendall(request())
            assert acting.started.wait(10)
            yield address, acting


def answer(client: socket.socket) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Read one answer with a length."""
    client.settimeout(10)
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += client.recv(65_536)
    return int(first.split()[1]), headers, json.loads(body)


def counted(address: tuple[str, int], sample: str) -> float:
    url = "http://{}:{}/metrics".format(*address)
    lines = dict(line.rsplit(" ", 1) for line in httpx.get(url).text.splitlines() if line[0] != "#")
    return float(lines.get(sample, 0))


def test_an_early_refusal_is_the_answer_that_the_application_gives(bundle: Path) -> None:
    with busy(bundle) as (address, _), socket.create_connection(address) as client:
        client.sendall(request())
        early, headers, problem = answer(client)
        # A browser gets it from the application.
        client.sendall(request(b"Origin: https://example.org"))
        late, other_headers, other_problem = answer(client)
        assert (early, problem["type"]) == (503, "../problems/overloaded")
        assert early == late
        assert headers["x-request-id"] == problem.pop("instance")
        assert other_headers["x-request-id"] == other_problem.pop("instance")
        assert problem == other_problem
        assert len(headers.pop("x-request-id")) == len(other_headers.pop("x-request-id")) == 32
        for head in (headers, other_headers):
            head.pop("date")
        assert headers == other_headers


def test_a_refused_connection_takes_the_next_request(bundle: Path) -> None:
    with busy(bundle) as (address, acting), socket.create_connection(address) as client:
        # The body in two pieces, and two requests in one.
        client.sendall(request()[:-9])
        assert answer(client)[0] == 503
        client.sendall(request()[-9:] + request())
        assert answer(client)[0] == 503
        acting.may_end.set()
        deadline = time.monotonic() + 10
        while (status := ask(client)) == 503 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert status == 200


def test_very_many_requests_at_once_are_each_refused(bundle: Path) -> None:
    empty = request(length=b"Content-Length: 0\r\n").removesuffix(PICTURE)
    with busy(bundle) as (address, _), socket.create_connection(address) as client:
        client.settimeout(10)
        client.sendall(empty * 1_000)
        received = bytearray()
        while received.count(b"HTTP/1.1 503") < 1_000:
            data = client.recv(1_000_000)
            assert data
            received += data


def ask(client: socket.socket) -> int:
    client.sendall(request())
    return answer(client)[0]


def test_early_refusals_are_counted_and_logged_together(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "doctor_derma")

    def logged() -> list[int]:
        lines = list(caplog.records)
        return [line.fields["refused"] for line in lines if "refused" in line.fields]

    with busy(bundle) as (address, _), socket.create_connection(address) as client:
        assert [ask(client) for _ in range(20)] == [503] * 20
        assert counted(address, 'derma_refused_pictures_total{reason="overloaded"}') == 20
        sample = 'derma_request_seconds_count{method="POST",route="unknown",status="503"}'
        assert counted(address, sample) == 20
        # The last of them too, though nothing comes after it.
        deadline = time.monotonic() + 10
        while sum(logged()) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert sum(logged()) == 20
    assert len(logged()) < 10


def test_one_address_has_no_more_than_its_share(bundle: Path) -> None:
    with (
        busy(bundle, queue_limit=8, per_client_limit=1) as (address, _),
        socket.create_connection(address) as client,
    ):
        client.sendall(request())
        status, headers, problem = answer(client)
        assert (status, headers["retry-after"]) == (429, "1")
        assert problem["type"] == "../problems/too-many-requests"


def test_no_more_are_let_in_at_once_than_there_is_room_for(bundle: Path) -> None:
    with listening(bundle, queue_limit=3, per_client_limit=100) as (address, acting):
        acting.may_end.clear()
        clients = [socket.create_connection(address) for _ in range(12)]
        for client in clients:
            client.sendall(request())
        deadline = time.monotonic() + 10
        sample = 'derma_refused_pictures_total{reason="overloaded"}'
        while counted(address, sample) < 9 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert counted(address, sample) == 9
        acting.may_end.set()
        assert sorted(answer(client)[0] for client in clients) == [200] * 3 + [503] * 9
        for client in clients:
            client.close()


@pytest.fixture(scope="module")
def one_each(bundle: Path) -> Shedding:
    """Whom a server lets in that takes one picture of a client at a time."""
    acting = ActingClassifier(bundle)
    app = build_app(Classifiers(acting, acting, 1), bundle, Settings(per_client_limit=1))
    app.state.engine.ready = True
    return app.state.shedding


@pytest.mark.parametrize(
    "sent",
    [
        request(b"Connection: close"),
        request(b"Expect: 100-continue"),
        request(b"X-Forwarded-For: 192.0.2.1"),
        request(b"Forwarded: for=192.0.2.1"),
        request(b"X-Request-ID: mine"),
        request(length=b"Content-Length: 9\r\nContent-Length: 9\r\n"),
        request(length=b"Transfer-Encoding: chunked\r\n"),
        request(length=b"Content-Length: 1000001\r\n"),
        request(path=b"/v1/predict/batch"),
        b"GET /v1/predict HTTP/1.1\r\n\r\n",
        request()[:40],
    ],
)
def test_what_has_to_be_looked_at_is_left_to_the_application(
    one_each: Shedding, sent: bytes
) -> None:
    async def scenario() -> None:
        with one_each.under_way("192.0.2.7"):
            assert one_each.refuse_early(request(), "192.0.2.7") is not None
            assert one_each.refuse_early(sent, "192.0.2.7") is None

    asyncio.run(scenario())


def test_a_refused_body_that_never_ends_is_not_waited_for(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.3)
    with busy(bundle) as (address, _), socket.create_connection(address) as client:
        client.sendall(request()[:-9])
        assert answer(client)[0] == 503
        began = time.monotonic()
        try:
            while time.monotonic() < began + 10:
                client.sendall(b"a")
                time.sleep(0.05)
        except OSError:
            pass
        assert 0.2 < time.monotonic() - began < 9
