"""HTTP/1.1 by h11, with limits on time and connections, and early refusals, that uvicorn lacks."""

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from doctor_derma.server.shedding import Shedding

# From the connection, or from the end of an answer, to the end of the next request's headers.
REQUEST_SECONDS = 10.0
# For an answer that fills every buffer on the way, until the client reads on.
READING_SECONDS = 30.0
# For a client that is refused while it sends, until it has read so and closes the connection.
LINGERING_SECONDS = 5.0
# Of a body that is sent in chunks, on average and in whatever has come at a time. Each is some
# microseconds of the event loop, and nobody sends bytes one by one.
LEAST_CHUNK_BYTES = 64
# What an answer may gather before it goes out, so that a long one fills no memory.
GATHERED_BYTES = 65_536
# Of a port; with one more, one that says nothing is closed.
MAX_CONNECTIONS = 900
# For which a connection that says nothing is as good as one that does.
FRESH_SECONDS = 1.0
_NOTHING_YET = {h11.CLIENT: h11.IDLE, h11.SERVER: h11.IDLE}


class BoundedProtocol(H11Protocol):
    """Uvicorn's protocol on h11 with timeouts and a limit on connections.

    h11 bounds what comes before a body, and ``read_body`` the body. What remains is a client that
    never ends its headers (Slowloris) or begins no request, one that never reads its answer, and
    one whose upload is refused half-way. That one would never see why: closing a connection on
    which something unread arrives resets it, and a reset overtakes the answer (RFC 9112, section
    9.6). So the answer goes out, and what still comes is thrown away until the client closes.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._timer: asyncio.TimerHandle | None = None
        self._lingering = False
        self._heard = self.loop.time()
        self._shedding: Shedding | None = getattr(
            getattr(self.app, "state", None), "shedding", None
        )
        # Bytes that are still to come of a request that was refused early.
        self._dropped = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, in the place of another connection where there is no room."""
        super().connection_made(_Gathering(transport, self))  # type: ignore[arg-type]
        self._port = self.server and self.server[1]
        self._abort_after(REQUEST_SECONDS)
        if len(self.connections) > MAX_CONNECTIONS:
            # When what has come with it, and with others in the same turn, is read.
            self.loop.call_later(0, self._make_room)

    def data_received(self, data: bytes) -> None:
        """Take what comes, unless the answer is out and the end is near."""
        if self._lingering:
            return
        data = self._drop(data)
        while data and self._refuse_early(data):
            data = self._drop(data)
        if not data:
            return
        if self._is_tiny_chunks(data):
            self.transport.abort()
        else:
            self._heard = self.loop.time()
            super().data_received(data)
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request, if it did not come behind the last."""
        if not self._lingering and not self.flow.write_paused:
            self._abort_after(REQUEST_SECONDS)
        super().on_response_complete()
        self._stop_waiting()

    def pause_writing(self) -> None:
        """Wait until the client reads its answer."""
        super().pause_writing()
        self._abort_after(READING_SECONDS)

    def resume_writing(self) -> None:
        """Go on once the client reads: wait for its next request if all is answered."""
        super().resume_writing()
        self._abort_after(None if self._answers else REQUEST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer of a connection that is closed."""
        self._abort_after(None)
        super().connection_lost(exc)

    def end(self, transport: asyncio.Transport) -> None:
        """Close the connection, slowly where the client still sends."""
        if self._lingering or self.cycle is None or not self.cycle.more_body:
            transport.close()
        else:
            self._lingering = True
            transport.write_eof()
            self.flow.resume_reading()
            self._abort_after(LINGERING_SECONDS)

    def _refuse_early(self, data: bytes) -> bool:
        """Answer a request that begins with these bytes, if it can be refused by them alone."""
        begins = self.conn.states == _NOTHING_YET and not self.conn.trailing_data[0]
        if not begins or self._shedding is None or self.flow.write_paused:
            return False
        client = self.client[0] if self.client else ""
        if (refusal := self._shedding.refuse_early(data, client)) is None:
            return False
        self._unset_keepalive_if_required()
        status = f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}".encode()
        headers = [*self.server_state.default_headers, *refusal.headers]
        lines = [status, *(b"%s: %s" % header for header in headers), b"", refusal.body]
        self.transport.write(b"\r\n".join(lines))
        self._dropped = refusal.end
        if len(data) < refusal.end:
            self._abort_after(REQUEST_SECONDS)
        return True

    def _drop(self, data: bytes) -> bytes:
        """Drop what comes of a request that was refused, and return what follows it."""
        if not self._dropped:
            return data
        rest = data[self._dropped :]
        self._dropped = max(self._dropped - len(data), 0)
        if not self._dropped:
            self._abort_after(REQUEST_SECONDS)
        return rest

    @property
    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _abort_after(self, seconds: float | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.abort) if seconds else None

    def _stop_waiting(self) -> None:
        if self._answers and not self.flow.write_paused:
            self._abort_after(None)

    def _is_tiny_chunks(self, data: bytes) -> bool:
        if data.count(b"\r\n") < 2 * len(data) / LEAST_CHUNK_BYTES + 100:
            return False
        named = (name == b"transfer-encoding" for name, _ in self.headers or ())
        return any(named) or b"transfer-encoding" in data.lower()

    def _make_room(self) -> None:
        """Of this port, close who asks nothing, else who has not sent all; the longest silent."""
        if len(self.connections) <= MAX_CONNECTIONS:
            return
        here = [each for each in list[Any](self.connections) if each._port == self._port]
        for last in sorted(here, key=BoundedProtocol._worth)[: max(len(here) - MAX_CONNECTIONS, 0)]:
            self.connections.discard(last)
            last.transport.abort()

    def _worth(self) -> tuple[bool, bool, bool, float]:
        fresh = self.loop.time() - self._heard < FRESH_SECONDS
        return fresh, self._answers, self._answers and not self.cycle.more_body, self._heard


class _Gathering:
    """A transport that sends an answer's headers and body in one packet, and closes by ``end``."""

    def __init__(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        self._transport, self._protocol = transport, protocol
        self._gathered = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._gathered:
            self._protocol.loop.call_soon(self._flush)
        self._gathered += data
        if len(self._gathered) >= GATHERED_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._protocol.end(self._transport)

    def _flush(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._transport.write(gathered)
