"""HTTP connections with clients that take their time, and with those that are cut short."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# From the connection, or from the end of an answer, to the end of the next request's headers.
REQUEST_SECONDS = 10.0
# For an answer that has filled every buffer on the way, until the client reads on.
READING_SECONDS = 30.0
# For a client that is refused while it sends, until it has read so and closes the connection.
LINGERING_SECONDS = 5.0
# Of a body that is sent in chunks, on average and in whatever has come at a time. Each is some
# microseconds of the event loop, and nobody sends bytes one by one.
LEAST_CHUNK_BYTES = 64
# What an answer may gather before it goes out, so that a long one fills no memory.
GATHERED_BYTES = 65_536
# With one more, one that says nothing is closed.
MAX_CONNECTIONS = 900
# For which a connection that says nothing is as good as one that does.
FRESH_SECONDS = 1.0


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol on h11 with the ends that it lacks: patience, but not for ever.

    h11 bounds what a request is before its body, and ``routes/body.py`` times the bodies. What
    remains is a client that never ends its headers (Slowloris) or begins no request, one that
    never reads its answer, and one whose upload is refused half-way. That one would never see
    why: closing a connection on which something unread arrives resets it, and a reset overtakes
    the answer (RFC 9112, section 9.6). So the answer goes out, and what still comes is thrown
    away until the client closes.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._lingering = False
        self._heard = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request, in the place of another where there is no more room."""
        _answer_at_once(transport)
        self._connection = _Connection(transport, self)
        super().connection_made(self._connection)  # type: ignore[arg-type]
        self._wait("request", REQUEST_SECONDS)
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take what comes, unless the answer is out and the end is near."""
        if self._lingering:
            return
        if self._is_crumbs(data):
            self.transport.abort()
            return
        self._heard = self.loop.time()
        super().data_received(data)
        if self._answers:
            self._end_wait("request")

    def on_response_complete(self) -> None:
        """Let the answer go, and wait for the next request."""
        self._connection.flush()
        self._wait("request", REQUEST_SECONDS)
        super().on_response_complete()
        # There may have been one behind the last.
        if self._answers:
            self._end_wait("request")

    def pause_writing(self) -> None:
        """Start to wait until the client reads its answer."""
        super().pause_writing()
        self._wait("reader", READING_SECONDS)

    def resume_writing(self) -> None:
        """The client reads on."""
        self._end_wait("reader")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        for reason in (*self._timers,):
            self._end_wait(reason)
        super().connection_lost(exc)

    def linger(self, transport: asyncio.Transport) -> bool:
        """Begin a slow end where the client still sends; say whether it has begun."""
        sending = self.cycle is not None and self.cycle.more_body
        if self._lingering or not sending or not transport.can_write_eof():
            return False
        self._lingering = True
        transport.write_eof()
        self.flow.resume_reading()
        self._wait("end", LINGERING_SECONDS)
        return True

    @property
    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_crumbs(self, data: bytes) -> bool:
        if data.count(b"\r\n") < 2 * len(data) / LEAST_CHUNK_BYTES + 100:
            return False
        said = [value for name, value in self.headers or () if name == b"transfer-encoding"]
        return bool(said) or b"transfer-encoding" in data.lower()

    def _make_room(self) -> None:
        """Close who asks nothing, else who has not sent all; the longest silent first."""
        now = self.loop.time()

        def worth(each: Any) -> tuple[bool, bool, bool, float]:
            fresh = now - each._heard < FRESH_SECONDS
            sent_all = each._answers and not each.cycle.more_body
            return fresh, each._answers, sent_all, each._heard

        last = min((each for each in self.connections if each is not self), key=worth)
        self.connections.discard(last)
        last.transport.abort()

    def _wait(self, reason: str, seconds: float) -> None:
        self._end_wait(reason)
        self._timers[reason] = self.loop.call_later(seconds, self.transport.abort)

    def _end_wait(self, reason: str) -> None:
        if timer := self._timers.pop(reason, None):
            timer.cancel()


def _answer_at_once(transport: asyncio.Transport) -> None:
    """Send the end of an answer without waiting for the client to confirm its beginning.

    Nagle's algorithm (RFC 896) and delayed acknowledgements hold it back for 40 ms. asyncio turns
    the former off, but not where the listening socket was made without naming TCP.
    """
    if connection := transport.get_extra_info("socket"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Connection:
    """A transport that sends an answer's parts in one piece, and whose first ``close`` may be the
    protocol's slow end.

    Uvicorn writes the headers and the body one after the other. Each would be a call into the
    system and a packet of its own.
    """

    def __init__(self, transport: asyncio.Transport, protocol: PatientProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._gathered = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send at the end of the answer or of the event loop's turn, whichever is first."""
        if not self._gathered:
            self._protocol.loop.call_soon(self.flush)
        self._gathered += data
        if len(self._gathered) >= GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was written."""
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._transport.write(gathered)

    def close(self) -> None:
        """Send what was written, and close."""
        self.flush()
        if not self._protocol.linger(self._transport):
            self._transport.close()
