"""The open loop against a server that does what it is told."""

import asyncio
from collections.abc import Callable

import pytest
from serving_bench.connection import parse_head
from serving_bench.load import waiting_clients
from serving_bench.open_loop import OpenLoop, arrivals

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_requests_are_due_at_even_intervals() -> None:
    assert list(arrivals(4, 1)) == [0, 0.25, 0.5, 0.75]
    assert len(list(arrivals(1000, 0.5))) == 500


def test_the_head_of_an_answer() -> None:
    head = parse_head(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nContent-Length: 7")
    assert (head.status, head.length, head.retry_after, head.closes) == (503, 7, True, False)
    assert parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked").length is None
    assert parse_head(b"HTTP/1.1 204 No\r\nConnection: close").closes


def run(answer: Callable[[int], tuple[float, bytes]], drive: Callable) -> dict:
    """Drive a server that answers its n-th request after a while, one at a time."""

    async def scenario() -> dict:
        numbers = iter(range(10_000))
        turn = asyncio.Lock()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while await reader.readexactly(len(REQUEST)):
                    async with turn:
                        seconds, reply = answer(next(numbers))
                        await asyncio.sleep(seconds)
                    # In two pieces, as networks do.
                    writer.write(reply[:9])
                    await writer.drain()
                    await asyncio.sleep(0)
                    writer.write(reply[9:])
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await drive(server.sockets[0].getsockname()[1])

    return asyncio.run(scenario())


def open_loop(rate: float, deadline: float = 5.0, connections: int = 8) -> Callable:
    return lambda port: OpenLoop(port, [REQUEST], rate, deadline, connections).run(0.5)


@pytest.mark.parametrize("reply", [OK, CHUNKED, CLOSING])
def test_all_are_answered(reply: bytes) -> None:
    found = run(lambda number: (0, reply), open_loop(40))
    assert found["outcomes"] == {"200": 20}
    assert found["answered_per_second"] == pytest.approx(40, abs=4)


def test_a_stall_is_charged_to_all_who_would_have_waited() -> None:
    found = run(lambda number: (0.4 if number == 0 else 0, OK), open_loop(40))
    # Those due in the 0.4 s behind the first: half of all wait over 0.1 s.
    assert found["outcomes"] == {"200": 20}
    assert found["latency_ms"]["p50"] > 100
    assert found["latency_ms"]["max"] >= 400


def test_refusals_are_no_answers() -> None:
    found = run(lambda number: (0, OK if number % 2 else BUSY), open_loop(40))
    assert found["outcomes"] == {"refused with Retry-After": 10, "200": 10}
    assert found["answered_per_second"] == pytest.approx(20, abs=4)


def test_what_is_late_is_given_up() -> None:
    found = run(lambda number: (60, OK), open_loop(20, deadline=0.2, connections=2))
    assert found["outcomes"] == {"given up": 10} or found["outcomes"]["given up"] >= 2
    assert sum(found["outcomes"].values()) == 10
    assert found["latency_ms"] is None


def test_nobody_listens() -> None:
    found = asyncio.run(OpenLoop(9, [REQUEST], 20, 1.0, 4).run(0.2))
    assert found["outcomes"] == {"connection broke": 4}


def test_one_client_waits_for_each_answer() -> None:
    found = run(lambda number: (0.05, OK), lambda port: waiting_clients(port, [REQUEST], 0.5))
    assert 3 <= found["outcomes"]["200"] <= 10
    assert found["latency_ms"]["p50"] >= 50
