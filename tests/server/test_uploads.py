"""Uploads that are too slow, too large, cut off or compressed, and the memory for them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import Request
from starlette.types import Message

from doctor_derma.server.problems import ProblemError
from doctor_derma.server.upload_memory import UploadMemory
from doctor_derma.server.uploads import read_body


def read(
    chunks: list[bytes | None],
    most: int = 1000,
    headers: dict[str, str] | None = None,
    pause: float = 0.0,
) -> bytes:
    """Read a body of these chunks; None is a client that goes away, the end one that stalls."""
    coming = iter(chunks)

    async def receive() -> Message:
        for chunk in coming:
            await asyncio.sleep(pause)
            if chunk is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": chunk != b"end"}
        return await asyncio.Event().wait()  # type: ignore[return-value]

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": raw}

    async def gather() -> bytes:
        with UploadMemory().reservation() as reservation:
            body: AsyncIterator[bytes] = read_body(Request(scope, receive), most, reservation)
            return b"".join([chunk async for chunk in body])

    return asyncio.run(gather())


def refusal(*arguments: object, **settings: object) -> ProblemError:
    with pytest.raises(ProblemError) as refused:
        read(*arguments, **settings)  # type: ignore[arg-type]
    return refused.value


def test_a_body_is_its_chunks() -> None:
    assert read([b"a" * 50, b"b" * 47, b"end"]) == b"a" * 50 + b"b" * 47 + b"end"


def test_a_body_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor_derma.server.uploads.SILENCE_SECONDS", 0.02)
    stalled = refusal([b"a"])
    assert stalled.type.name == "too-slow"
    assert stalled.headers == {"Connection": "close"}


def test_a_body_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor_derma.server.uploads.SILENCE_SECONDS", 0.1)
    dripping = [b"a"] * 100
    assert refusal(dripping, pause=0.02).type.name == "too-slow"
    monkeypatch.setattr("doctor_derma.server.uploads.LEAST_BYTES", 2)
    assert read([*dripping[:20], b"end"], pause=0.02) == b"a" * 20 + b"end"


def test_the_slowest_upload_goes_before_a_newcomer_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("doctor_derma.server.upload_memory.SLOW_AFTER_SECONDS", 0.05)
    memory = UploadMemory(limit=100)
    outcomes: dict[str, str] = {}

    async def upload(name: str, size: int, pause: float) -> None:
        """Send so much at once and the end after a pause."""
        messages = [
            {"type": "http.request", "body": bytes(size), "more_body": True},
            {"type": "http.request", "body": b"", "more_body": False},
        ]

        async def receive() -> Message:
            if len(messages) == 1:
                await asyncio.sleep(pause)
            return messages.pop(0)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        try:
            with memory.reservation() as reservation:
                async for chunk in read_body(Request(scope, receive), 1000, reservation):
                    reservation.take(len(chunk))
            outcomes[name] = "whole"
        except ProblemError as refused:
            outcomes[name] = refused.type.name

    async def scenario() -> None:
        stalled = asyncio.create_task(upload("stalled", 30, 60))
        slow = asyncio.create_task(upload("slow", 60, 0.3))
        await asyncio.sleep(0.1)
        await upload("newcomer", 40, 0)
        # All that is left is under way or young.
        young = asyncio.create_task(upload("young", 40, 0.3))
        await asyncio.sleep(0.01)
        monkeypatch.setattr("doctor_derma.server.upload_memory.SLOW_AFTER_SECONDS", 60)
        await upload("too much", 40, 0)
        await asyncio.gather(stalled, slow, young)

    asyncio.run(scenario())
    assert outcomes == {
        "stalled": "too-slow",
        "slow": "whole",
        "newcomer": "whole",
        "young": "whole",
        "too much": "overloaded",
    }
    assert memory.held == 0


def test_other_ends() -> None:
    assert refusal([b"a" * 600, b"b" * 401]).type.name == "too-large"
    assert refusal([], headers={"content-length": "1001"}).type.name == "too-large"
    assert refusal([b"a", None]).type.name == "malformed"
    assert refusal([], headers={"content-encoding": "gzip"}).type.name == "wrong-type"


def test_memory_for_uploads_is_bounded_and_comes_back() -> None:
    memory = UploadMemory(limit=10)
    with memory.reservation() as first, memory.reservation() as second:
        first.take(6)
        second.take(4)
        with pytest.raises(ProblemError) as refused:
            second.take(1)
        assert refused.value.status_code == 503
        assert refused.value.headers == {"Retry-After": "2"}
        first.give_back(6)
        second.take(6)
    with memory.reservation() as again:
        again.take(10)


def test_large_uploads_keep_no_small_one_out() -> None:
    memory = UploadMemory(limit=3_000_000, reserved=500_000)
    with memory.reservation() as large, memory.reservation() as small, memory.reservation() as more:
        large.take(3_000_000)
        small.take(400_000)
        with pytest.raises(ProblemError):
            large.take(1)
        with pytest.raises(ProblemError):
            more.take(200_000)
    assert memory.held == 0
