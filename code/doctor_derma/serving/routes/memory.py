"""How many bytes of uploads the server holds, all requests of a kind together."""

from collections.abc import Iterator
from contextlib import contextmanager

from doctor_derma.serving.routes.kinds import OVERLOADED
from doctor_derma.serving.routes.problem import Refusal

MAX_HELD_BYTES = 64_000_000
RETRY_SECONDS = 2


class UploadMemory:
    """A bound on the bytes that have been received and not yet answered.

    Many large uploads at once would otherwise fill the memory before the first of them
    reaches the queue. Batches have their own, so that they keep no single picture out.
    """

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Give a request its share, which it returns at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give(share.held)

    def _move(self, size: int) -> None:
        if size > 0 and self._held + size > self._most:
            raise Refusal(
                OVERLOADED,
                "The server is busy with other uploads; send this again in a moment.",
                {"Retry-After": str(RETRY_SECONDS)},
            )
        self._held += size


class Share:
    """The bytes that one request holds."""

    def __init__(self, memory: UploadMemory) -> None:
        self._memory = memory
        self.held = 0

    def take(self, size: int) -> None:
        """Hold more bytes.

        Raises
        ------
        Refusal
            503 when all requests together would hold too many.
        """
        self._memory._move(size)
        self.held += size

    def give(self, size: int) -> None:
        """Hold fewer bytes."""
        self._memory._move(-size)
        self.held -= size
