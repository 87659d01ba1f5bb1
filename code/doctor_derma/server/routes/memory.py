"""How many bytes of uploads the server holds, all requests of a kind together."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from doctor_derma.server.problems import OVERLOADED, ProblemError

# The largest request.
MAX_HELD_BYTES = 42_000_000
RETRY_SECONDS = 2
# A connection that has its bad second is no stalled one.
SLOW_AFTER_SECONDS = 2.0


class UploadMemory:
    """A bound on the bytes that have been received and not yet answered.

    Many large uploads at once would otherwise fill the memory before the first of them
    reaches the queue. Where there is no more room, the slowest upload goes before a newcomer is
    refused. Batches have their own, so that they keep no single picture out.
    """

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self._most = most
        self._held = 0
        self._shares: set[Share] = set()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Give a request its share, which it returns at the end of the block."""
        share = Share(self)
        self._shares.add(share)
        try:
            yield share
        finally:
            self._shares.discard(share)
            share.give(share.held)

    def _move(self, taker: "Share", size: int) -> None:
        while size > 0 and self._held + size > self._most and (slowest := self._slowest(taker)):
            slowest.evict()
        if size > 0 and self._held + size > self._most:
            raise _busy()
        self._held += size

    def _slowest(self, taker: "Share") -> "Share | None":
        slow = [each for each in self._shares if each is not taker and each.is_slow]
        return min(slow, key=lambda each: each.rate, default=None)


def _busy() -> ProblemError:
    detail = "The server is busy with other uploads; send this again in a moment."
    return ProblemError(OVERLOADED, detail, {"Retry-After": str(RETRY_SECONDS)})


class Share:
    """The bytes that one request holds."""

    def __init__(self, memory: UploadMemory) -> None:
        self._memory = memory
        self._taken = 0
        self._waited = self._since = 0.0
        self._patience: asyncio.Timeout | None = None
        self._evicted = False
        self.held = 0

    def take(self, size: int) -> None:
        """Hold more bytes.

        Raises
        ------
        ProblemError
            503 when all requests together would hold too many.
        """
        if self._evicted:
            raise _busy()
        self._memory._move(self, size)
        self.held += size
        self._taken += size

    def give(self, size: int) -> None:
        """Hold fewer bytes."""
        if not self._evicted:
            self._memory._move(self, -size)
            self.held -= size

    @contextmanager
    def expecting(self, patience: asyncio.Timeout) -> Iterator[None]:
        """Wait for the client in this block, for as long as others don't need the room more."""
        self._patience, self._since = patience, monotonic()
        try:
            yield
        finally:
            self._waited = self._seconds
            self._patience = None

    @property
    def rate(self) -> float:
        """Bytes a second of the time that was spent waiting for the client."""
        return self._taken / max(self._seconds, 0.001)

    @property
    def is_slow(self) -> bool:
        """Whether it may go before others are refused."""
        return bool(self.held and self._patience) and self._seconds > SLOW_AFTER_SECONDS

    @property
    def _seconds(self) -> float:
        return self._waited + (monotonic() - self._since if self._patience else 0.0)

    def evict(self) -> None:
        """Give all of it to others, and end the waiting."""
        self.give(self.held)
        self._evicted = True
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())
