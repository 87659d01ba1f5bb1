"""Bodies that are too slow, too large, cut off or compressed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import Request
from starlette.types import Message

from doctor_derma.serving.routes.body import read_body
from doctor_derma.serving.routes.problem import Refusal


def read(
    chunks: list[bytes | None], most: int = 100, headers: dict[str, str] | None = None
) -> bytes:
    """Read a body of these chunks; None is a client that goes away, the end one that stalls."""
    coming = iter(chunks)

    async def receive() -> Message:
        for chunk in coming:
            if chunk is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": chunk != b"end"}
        return await asyncio.Event().wait()  # type: ignore[return-value]

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": raw}

    async def gather() -> bytes:
        body: AsyncIterator[bytes] = read_body(Request(scope, receive), most)
        return b"".join([chunk async for chunk in body])

    return asyncio.run(gather())


def refusal(*arguments: object, **settings: object) -> Refusal:
    with pytest.raises(Refusal) as refused:
        read(*arguments, **settings)  # type: ignore[arg-type]
    return refused.value


def test_a_body_is_its_chunks() -> None:
    assert read([b"a" * 50, b"b" * 47, b"end"]) == b"a" * 50 + b"b" * 47 + b"end"


def test_a_body_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor_derma.serving.routes.body.GRACE_SECONDS", 0.02)
    stalled = refusal([b"a"])
    assert stalled.kind.name == "too-slow"
    assert stalled.headers == {"Connection": "close"}


def test_time_grows_with_what_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor_derma.serving.routes.body.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("doctor_derma.serving.routes.body.LEAST_BYTES_PER_SECOND", 2)
    # Nothing has come yet, and there is no time for anything.
    assert refusal([]).kind.name == "too-slow"


def test_other_ends() -> None:
    assert refusal([b"a" * 60, b"b" * 41]).kind.name == "too-large"
    assert refusal([], headers={"content-length": "101"}).kind.name == "too-large"
    assert refusal([b"a", None]).kind.name == "malformed"
    assert refusal([], headers={"content-encoding": "gzip"}).kind.name == "wrong-type"
