"""Bounds the bytes of uploads that the server holds, over all requests of a kind."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from doctor_derma.server.problems import OVERLOADED, ProblemError

# The largest request.
MAX_HELD_BYTES = 42_000_000
# Uploads of up to so many bytes, as most pictures for this are, have a part of their own on top.
SMALL_BYTES = 1_000_000
RESERVED_BYTES = 4_000_000
RETRY_SECONDS = 2
# A connection that pauses for a second has not stalled.
SLOW_AFTER_SECONDS = 2.0


class UploadMemory:
    """A bound on the bytes that have been received and not yet answered.

    Many large uploads at once would otherwise fill the memory before the first of them
    reaches the queue. When it is full, the slowest upload is evicted before a new one is refused.
    Batches have a bound of their own, so that they keep no single picture out, and a few large
    uploads keep no small one out.

    ``limit`` is in bytes, for all uploads, and ``reserved`` on top of that for those of at most
    ``SMALL_BYTES``. ``held`` is what all requests hold now.
    """

    def __init__(self, limit: int = MAX_HELD_BYTES, reserved: int = 0) -> None:
        self.held = 0
        self._limit = limit
        self._reserved = reserved
        self._reservations: set[Reservation] = set()

    @contextmanager
    def reservation(self) -> Iterator["Reservation"]:
        """Give a request its reservation, empty at first, which ends with the block."""
        reservation = Reservation(self)
        self._reservations.add(reservation)
        try:
            yield reservation
        finally:
            self._reservations.discard(reservation)
            reservation.give_back(reservation.held)

    def make_room(self, size: int, taker: "Reservation") -> bool:
        """Evict slow uploads, the slowest first, until so many bytes more fit; say if they do."""
        is_small = taker.held + size <= SMALL_BYTES
        limit = self._limit + (self._reserved if is_small else 0)
        while self.held + size > limit:
            slow = [each for each in self._reservations if each is not taker and each.is_slow]
            if not slow:
                return False
            min(slow, key=lambda each: each.rate).evict()
        return True


class Reservation:
    """The bytes that one request holds."""

    def __init__(self, memory: UploadMemory) -> None:
        self.held = 0
        self._memory = memory
        self._received = 0
        self._waited = self._since = 0.0
        self._timeout: asyncio.Timeout | None = None
        self._evicted = False

    def take(self, size: int) -> None:
        """Hold more bytes; raises 503 when all requests together would hold too many."""
        if self._evicted or not self._memory.make_room(size, self):
            detail = "The server is busy with other uploads; send this again in a moment."
            raise ProblemError(OVERLOADED, detail, retry_after=RETRY_SECONDS)
        self._memory.held += size
        self.held += size
        self._received += size

    def give_back(self, size: int) -> None:
        """Hold fewer bytes."""
        if not self._evicted:
            self._memory.held -= size
            self.held -= size

    @contextmanager
    def waiting(self, timeout: asyncio.Timeout) -> Iterator[None]:
        """Mark this block as waiting for the client; an eviction ends its timeout."""
        self._timeout, self._since = timeout, monotonic()
        try:
            yield
        finally:
            self._waited = self._seconds
            self._timeout = None

    @property
    def rate(self) -> float:
        """Bytes a second of the time that was spent waiting for the client."""
        return self._received / max(self._seconds, 0.001)

    @property
    def is_slow(self) -> bool:
        """Whether it may be evicted before others are refused."""
        return bool(self.held and self._timeout) and self._seconds > SLOW_AFTER_SECONDS

    @property
    def _seconds(self) -> float:
        return self._waited + (monotonic() - self._since if self._timeout else 0.0)

    def evict(self) -> None:
        """Give all of it back, and end the wait for the client."""
        self.give_back(self.held)
        self._evicted = True
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())
