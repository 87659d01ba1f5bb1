"""Clients that take their time are cut off, and those that are refused hear why."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from doctor_derma.server import http as protocol
from doctor_derma.server.http import BoundedProtocol

LARGE = 50_000_000
GET = b"GET / HTTP/1.1\r\nHost: test\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/refused":
        headers = [(b"connection", b"close"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/block":
        time.sleep(0.5)
    if scope["path"] in ("/small", "/block"):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all of it"})
        return
    if scope["path"] == "/whole":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * LARGE})
        return
    size = LARGE if scope["path"] == "/large" else 2
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(0, size, 1_000_000):
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    ended.append(scope["path"])


ended: list[str] = []


@contextmanager
def listening() -> Iterator[tuple[str, int]]:
    config = uvicorn.Config(
        app, port=0, http=BoundedProtocol, lifespan="off", log_level="error", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "READING_SECONDS", 0.3)
    ended.clear()
    with listening() as address:
        yield address


def is_cut_off(client: socket.socket, seconds: float = 5) -> bool:
    client.settimeout(seconds)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET /", GET + b"X-Slow: "])
def test_headers_that_never_end_are_not_waited_for(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as client:
        client.sendall(sent)
        assert is_cut_off(client)


def test_dripping_does_not_help(address: tuple[str, int]) -> None:
    began = time.monotonic()
    with socket.create_connection(address) as client:
        client.settimeout(0.05)
        for letter in GET:
            client.sendall(bytes([letter]))
            try:
                answer = client.recv(1)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            assert answer == b""
            break
        else:
            raise AssertionError("all of the headers were waited for")
    assert time.monotonic() - began < 3


def test_the_next_request_of_a_connection_has_its_own_time(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        for _ in range(4):
            client.sendall(GET + b"\r\n")
            client.settimeout(5)
            answer = b""
            while b"0\r\n\r\n" not in answer:
                answer += client.recv(10_000_000)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0.15)
        client.sendall(b"GET / HT")
        assert is_cut_off(client)


def test_headers_and_body_come_in_one_piece(address: tuple[str, int]) -> None:
    """Apart, they would be two packets, of which a client that is as near sees one at a time."""
    with socket.create_connection(address) as client:
        client.settimeout(5)
        for _ in range(50):
            client.sendall(GET.replace(b"/ ", b"/small ", 1) + b"\r\n")
            assert client.recv(10_000).endswith(b"all of it\r\n0\r\n\r\n")


def test_who_does_not_read_is_cut_off(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.sendall(GET.replace(b"/ ", b"/large ", 1) + b"\r\n")
        end = time.monotonic() + 10
        # The application's send returns when the connection is gone, so it gets to its end.
        while "/large" not in ended:
            assert time.monotonic() < end
            time.sleep(0.02)
        received = 0
        client.settimeout(5)
        with suppress(ConnectionError):
            while data := client.recv(1_000_000):
                received += len(data)
        assert received < LARGE


def test_who_reads_slowly_has_time_for_an_answer_that_is_complete(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "READING_SECONDS", 30)
    with socket.create_connection(address) as client:
        client.settimeout(10)
        client.sendall(GET.replace(b"/ ", b"/whole ", 1) + b"\r\n")
        # Longer than the next request may take.
        time.sleep(1)
        received = 0
        while received < LARGE:
            data = client.recv(1_000_000)
            assert data
            received += len(data)


POST = b"POST /refused HTTP/1.1\r\nHost: test\r\nContent-Length: 20000000\r\n\r\n"


def test_who_is_refused_while_sending_hears_why(address: tuple[str, int]) -> None:
    for _ in range(10):
        with socket.create_connection(address) as client:
            client.settimeout(5)
            client.sendall(POST)
            # The server has answered by now, and has to bear what still comes.
            time.sleep(0.02)
            for _ in range(20):
                client.sendall(bytes(100_000))
            answer = b""
            while data := client.recv(1000):
                answer += data
            assert answer.startswith(b"HTTP/1.1 413")


def test_but_not_for_ever(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGERING_SECONDS", 0.3)
    began = time.monotonic()
    with socket.create_connection(address) as client:
        client.sendall(POST)
        with suppress(ConnectionError):
            while time.monotonic() - began < 5:
                client.sendall(bytes(100_000))
    assert time.monotonic() - began < 4


def test_what_comes_after_a_refusal_is_no_request(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.settimeout(5)
        client.sendall(POST + bytes(20_000_000 - 10) + (GET + b"\r\n") * 3)
        answer = b""
        while data := client.recv(1000):
            answer += data
    assert answer.count(b"HTTP/1.1") == 1


CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_in_crumbs_is_cut_off(address: tuple[str, int], at_once: bool) -> None:
    with socket.create_connection(address) as client:
        if not at_once:
            client.sendall(CHUNKED)
            time.sleep(0.05)
        began = time.monotonic()
        with suppress(ConnectionError):
            client.settimeout(5)
            client.sendall((CHUNKED if at_once else b"") + b"1\r\nx\r\n" * 10_000)
            while client.recv(10_000_000):
                pass
        assert time.monotonic() - began < 0.25


def test_a_picture_of_line_ends_is_no_crumbs(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.settimeout(5)
        body = b"\r\n" * 100_000
        head = b"POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
        client.sendall(head + body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"\r\n", b"x", b"GET / HT"])
def test_nothing_keeps_a_connection_after_an_answer(address: tuple[str, int], sent: bytes) -> None:
    ask = GET.replace(b"/ ", b"/small ", 1)
    # Where a byte of its body is to follow, too.
    for request in (ask + b"\r\n", ask + b"Content-Length: 9\r\n\r\n"):
        with socket.create_connection(address) as client:
            client.settimeout(5)
            client.sendall(request)
            assert client.recv(10_000).endswith(b"all of it\r\n0\r\n\r\n")
            began = time.monotonic()
            with suppress(ConnectionError):
                client.sendall(sent)
                while client.recv(10_000):
                    pass
            assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "piece", [b"X-Filler: nothing\r\n" * 1000, b"x" * 20_000], ids=["lines", "line"]
)
@pytest.mark.parametrize(
    "start", [GET, b"GET /", GET + b"X: ", CHUNKED + b"0\r\n", CHUNKED + b"1;"], ids=str
)
def test_what_is_before_and_behind_a_body_is_bounded(
    address: tuple[str, int], start: bytes, piece: bytes
) -> None:
    with socket.create_connection(address) as client:
        client.settimeout(5)
        client.sendall(start)
        with pytest.raises(ConnectionError):  # noqa: PT012 (the buffers take some of it)
            for _ in range(1000):
                client.sendall(piece)


def test_who_asks_for_another_protocol_is_answered_in_this_one(address: tuple[str, int]) -> None:
    inner = b"GET /large HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    head = (
        b"POST /small HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\nContent-Length: %d\r\n\r\n" % len(inner)
    )
    with socket.create_connection(address) as client:
        client.settimeout(1)
        client.sendall(head + inner)
        answer = b""
        with suppress(TimeoutError):
            while data := client.recv(10_000):
                answer += data
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1
    assert "/large" not in ended


def test_a_newcomer_takes_the_place_of_who_says_nothing(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 30)
    idle = [socket.create_connection(address) for _ in range(6)]
    try:
        time.sleep(0.1)
        with socket.create_connection(address) as client:
            client.settimeout(5)
            client.sendall(GET.replace(b"/ ", b"/small ", 1) + b"\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert all(is_cut_off(each) for each in idle[:3])
    finally:
        for each in idle:
            each.close()


def test_of_newcomers_the_one_with_a_request_stays(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 30)
    with ExitStack() as held:
        busy = held.enter_context(socket.create_connection(address))
        busy.sendall(GET.replace(b"/ ", b"/block ", 1) + b"\r\n")
        time.sleep(0.1)
        # They all come in one turn of the event loop, this one first.
        asking = held.enter_context(socket.create_connection(address))
        asking.sendall(GET.replace(b"/ ", b"/small ", 1) + b"\r\n")
        idle = [held.enter_context(socket.create_connection(address)) for _ in range(6)]
        asking.settimeout(5)
        assert asking.recv(1000).startswith(b"HTTP/1.1 200")
        assert is_cut_off(idle[0])
