"""Clients that mean no good, by the way they speak HTTP. Each is bounded, in time and in bytes.

An attack is called with the server's address and the time at which it is to end, and does again and
again what it does until then.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

Address = tuple[str, int]
Attack = Callable[[Address, float], Coroutine[Any, Any, None]]

# Of one connection, and of all that an attack sends in a row.
MOST_BYTES = 30_000_000
PIECE = 65_536
GET = b"GET /readyz HTTP/1.1\r\nHost: siege\r\n"
POST = b"POST /v1/predict HTTP/1.1\r\nHost: siege\r\nContent-Type: image/jpeg\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LINES = b"X-Filler: nothing\r\n" * 3_000
UPLOAD_BYTES = 20_000_000
IDLE = 1_000


@asynccontextmanager
async def connection(address: Address):  # type: ignore[no-untyped-def]
    # From many addresses, as one alone may have few requests under way.
    own = f"127.0.{random.randrange(1, 5)}.{random.randrange(1, 250)}"
    reader, writer = await asyncio.open_connection(*address, local_addr=(own, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def repeated(attack: Callable[[Address], Awaitable[None]], at_once: int = 1) -> Attack:
    """Return an attack that several clients begin anew as soon as they are cut off."""

    async def run(address: Address, end: float) -> None:
        async def client() -> None:
            while time.monotonic() < end:
                with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                    async with asyncio.timeout(max(end - time.monotonic(), 0.01)):
                        await attack(address)
                await asyncio.sleep(0.05)

        await asyncio.gather(*(client() for _ in range(at_once)))

    return run


async def send(writer: asyncio.StreamWriter, piece: bytes, total: int) -> None:
    for _ in range(0, total, len(piece)):
        writer.write(piece)
        await writer.drain()


def flood(start: bytes, piece: bytes) -> Attack:
    """Return an attack that begins a request and goes on with one thing for ever."""

    async def attack(address: Address) -> None:
        async with connection(address) as (reader, writer):
            writer.write(start)
            await send(writer, piece, MOST_BYTES)
            writer.write(b"\r\n")
            await reader.read(100)

    return repeated(attack, 2)


async def slow_headers(address: Address) -> None:
    async with connection(address) as (reader, writer):
        while not reader.at_eof():
            writer.write(b"X")
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(100), 1)


async def one_byte_short(address: Address) -> None:
    """An upload of the greatest size whose last byte never comes."""
    async with connection(address) as (reader, writer):
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % UPLOAD_BYTES)
        await send(writer, b"x" * PIECE, UPLOAD_BYTES - PIECE)
        await reader.read(100)


async def dripping_upload(address: Address) -> None:
    async with connection(address) as (reader, writer):
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % UPLOAD_BYTES)
        await send(writer, b"x" * PIECE, UPLOAD_BYTES // 2)
        while not reader.at_eof():
            writer.write(b"x" * 100)
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(100), 0.5)


async def unread_answers(address: Address) -> None:
    async with connection(address) as (_, writer):
        await send(writer, b"GET /card HTTP/1.1\r\nHost: siege\r\n\r\n" * 100, 1_000_000)
        await asyncio.sleep(60)


async def pages(address: Address) -> None:
    async with connection(address) as (reader, writer):
        for path in (b"/card", b"/docs", b"/openapi.json", b"/v1/model", b"/", b"/problems") * 20:
            writer.write(b"GET %s HTTP/1.1\r\nHost: siege\r\n\r\n" % path)
            await reader.read(PIECE)


async def upgrade(address: Address) -> None:
    """HTTP/2 is asked for, in clear, with a picture that is a request of its own."""
    inner = b"GET /metrics HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    async with connection(address) as (reader, writer):
        writer.write(
            POST
            + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
            + b"Content-Length: %d\r\n\r\n" % len(inner)
            + inner
        )
        while await reader.read(PIECE):
            pass


def silent(*steps: bytes) -> Attack:
    """Return an attack of ``IDLE`` connections that say something, read an answer, and wait."""

    async def run(address: Address, end: float) -> None:
        async def client() -> None:
            while time.monotonic() < end:
                with suppress(OSError):
                    async with connection(address) as (reader, writer):
                        for step in steps:
                            writer.write(step)
                            await writer.drain()
                            with suppress(TimeoutError):
                                await asyncio.wait_for(reader.read(PIECE), 0.5)
                        with suppress(TimeoutError):
                            await asyncio.wait_for(reader.read(1), max(end - time.monotonic(), 0.1))
                await asyncio.sleep(0.5)

        await asyncio.gather(*(client() for _ in range(IDLE)))

    return run


ATTACKS: dict[str, Attack] = {
    "header lines": flood(GET, LINES),
    "one header": flood(GET + b"X-Filler: ", b"x" * PIECE),
    "one address": flood(b"GET /", b"x" * PIECE),
    "trailers": flood(CHUNKED + b"1\r\nx\r\n0\r\n", LINES),
    "chunk extensions": flood(CHUNKED + b"1;", b"x" * PIECE),
    "chunks of one byte": flood(CHUNKED, b"1\r\nx\r\n" * 10_000),
    "slow headers": repeated(slow_headers, 200),
    "one byte short": repeated(one_byte_short, 8),
    "dripping uploads": repeated(dripping_upload, 8),
    "unread answers": repeated(unread_answers, 20),
    "pages": repeated(pages, 20),
    "upgrade": repeated(upgrade, 4),
    "idle": silent(b""),
    "idle after a line end": silent(GET + b"\r\n", b"\r\n"),
    "idle in a body": silent(GET + b"Content-Length: 9\r\n\r\n", b"x"),
    "idle uploads": silent(POST + b"Content-Length: 1000\r\n\r\nx"),
}
