"""One HTTP/1.1 connection that costs the load generator as little as Python can."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

END_OF_HEAD = b"\r\n\r\n"
END_OF_CHUNKS = b"0\r\n\r\n"


class Reply(NamedTuple):
    """What came back; status 0 when the connection broke."""

    status: int
    retry_after: bool
    reusable: bool


BROKEN = Reply(0, retry_after=False, reusable=False)


class Head(NamedTuple):
    """The head of an answer; ``length`` is None for a chunked one."""

    status: int
    length: int | None
    retry_after: bool
    closes: bool


def parse_head(head: bytes) -> Head:
    """Read status line and headers."""
    status, *lines = head.split(b"\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip().lower()
    chunked = fields.get(b"transfer-encoding") == b"chunked"
    return Head(
        int(status.split(b" ", 2)[1]),
        None if chunked else int(fields.get(b"content-length", b"0")),
        b"retry-after" in fields,
        fields.get(b"connection") == b"close",
    )


class Connection(asyncio.Protocol):
    """Sends a request, then calls back with its reply; the next one may follow."""

    def __init__(self) -> None:
        self.alive = True
        self._reply: Callable[[Reply], None] | None = None
        self._received = bytearray()
        self._head: Head | None = None
        self._body_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self, request: bytes, reply: Callable[[Reply], None]) -> None:
        self._reply = reply
        self._received.clear()
        self._head = None
        self._transport.write(request)

    def abort(self) -> None:
        """Hang up, and tell nobody."""
        self._reply = None
        self.alive = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._head is None:
            end = self._received.find(END_OF_HEAD)
            if end < 0:
                return
            self._head = parse_head(bytes(self._received[:end]))
            self._body_at = end + len(END_OF_HEAD)
        if self._complete(self._head):
            if self._head.closes:
                self.alive = False
                self._transport.close()
            self._tell(Reply(self._head.status, self._head.retry_after, self.alive))

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self._tell(BROKEN)

    def _complete(self, head: Head) -> bool:
        if head.length is None:
            return self._received.endswith(END_OF_CHUNKS, self._body_at)
        return len(self._received) - self._body_at >= head.length

    def _tell(self, reply: Reply) -> None:
        waiting, self._reply = self._reply, None
        if waiting is not None:
            waiting(reply)
