"""Work for clients that have gone is given up, and only for those."""

import asyncio
import io
import re
import socket
from collections import deque
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from doctor_derma.server.middleware import CancelOnDisconnect
from server.server_process import served
from server.tiny_bundle import RED

BODY = {"type": "http.request", "body": b"a picture", "more_body": False}
GONE = {"type": "http.disconnect"}
SCOPE = {"type": "http", "method": "POST", "path": "/v1/predict"}


class Connection:
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
        connection = Connection(BODY)
        request = CancelOnDisconnect(app)(SCOPE, connection.receive, connection.send)
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
        connection = Connection(BODY)
        await CancelOnDisconnect(app)(SCOPE, connection.receive, connection.send)
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
            connection = Connection(*parts, last)
            await CancelOnDisconnect(app)(SCOPE, connection.receive, connection.send)
            assert received[-3:] == [*parts, last]
            assert connection.sent[-1] == "http.response.body"

    asyncio.run(scenario())


def test_cancelled_from_outside_is_cancelled() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(60)

    async def scenario() -> None:
        connection = Connection(BODY)
        request = CancelOnDisconnect(app)(SCOPE, connection.receive, connection.send)
        task = asyncio.create_task(request)  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_clients_that_hang_up_leave_the_queue_of_a_real_server(bundle: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), RED).save(stream, "PNG")
    picture = stream.getvalue()
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(picture)}\r\n\r\n"
    )
    with served(bundle, seconds=0.2) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            clients = [socket.create_connection(address) for _ in range(10)]
            for each in clients:
                each.sendall(head.encode() + picture)
            while "derma_waiting_pictures 10.0" not in client.get("/metrics").text:
                pass
            for each in clients:
                each.close()
            assert client.post("/v1/predict", files={"image": picture}).status_code == 200
            figures = client.get("/metrics").text
        server.stop()
        log = server.lines()
    assert "derma_waiting_pictures 0.0" in figures
    assert 'derma_refused_pictures_total{reason="gone"} 10.0' in figures
    # What was in the network already was finished; the others never went there.
    assert float(re.findall(r"^derma_batch_pictures_sum (\S+)$", figures, re.MULTILINE)[0]) <= 3
    posts = [line["status"] for line in log if line.get("method") == "POST"]
    assert sorted(posts) == [200] + [499] * 10
