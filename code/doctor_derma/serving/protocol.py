"""HTTP connections with clients that take their time, and with those that are cut short."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# From the first byte of a request, or from the connection, to the end of its headers.
HEADER_SECONDS = 10.0
# For an answer that has filled every buffer on the way, until the client reads on.
READING_SECONDS = 30.0
# For a client that is refused while it sends, until it has read so and closes the connection.
LINGERING_SECONDS = 5.0
# What an answer may gather before it goes out, so that a long one fills no memory.
GATHERED_BYTES = 65_536


class PatientProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with the ends that it lacks: patience, but not for ever.

    Uvicorn closes connections that are idle between requests, and ``routes/body.py`` times the
    bodies. What remains is a client that never ends its headers (Slowloris), one that never
    reads its answer, and one whose upload is refused half-way. That one would never see why:
    closing a connection on which something unread arrives resets it, and a reset overtakes the
    answer (RFC 9112, section 9.6). So the answer goes out, and what still comes is thrown away
    until the client closes.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._header_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        self._lingering = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for headers."""
        _answer_at_once(transport)
        self._connection = _Connection(transport, self)
        super().connection_made(self._connection)  # type: ignore[arg-type]
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """Take what comes, unless the answer is out and the end is near."""
        if not self._lingering:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Start to wait for the headers of this request."""
        super().on_message_begin()
        self._await_headers()

    def on_headers_complete(self) -> None:
        """The headers are there."""
        self._end_wait_for_headers()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Let the answer go."""
        self._connection.flush()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Start to wait until the client reads its answer."""
        super().pause_writing()
        self._reading_timer = self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads on."""
        self._end_wait_for_reader()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._end_wait_for_headers()
        self._end_wait_for_reader()
        super().connection_lost(exc)

    def linger(self, transport: asyncio.Transport) -> bool:
        """Begin a slow end where the client still sends; say whether it has begun."""
        sending = self.cycle is not None and self.cycle.more_body
        if self._lingering or not sending or not transport.can_write_eof():
            return False
        self._lingering = True
        transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGERING_SECONDS, transport.abort)
        return True

    def _await_headers(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _end_wait_for_headers(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _end_wait_for_reader(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None


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
