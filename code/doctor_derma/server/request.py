"""What is known of the request under way, for those who log it and those who add to it."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class RequestRecord:
    """One request, from its first byte to its last.

    Attributes
    ----------
    id : by which the client and the log know it
    path : that was asked for
    accepted : whether its pictures are classified even when the server has begun to stop
    pictures : classified by now
    largest_batch : pictures that one of them went through the network with, itself included
    """

    id: str
    path: str = "/"
    accepted: bool = False
    pictures: int = 0
    largest_batch: int = 0

    def add_picture(self, batch: int) -> None:
        """Count a picture that was classified in a batch of this size."""
        self.pictures += 1
        self.largest_batch = max(self.largest_batch, batch)


# Tasks that a request starts see the same record.
CURRENT: ContextVar[RequestRecord | None] = ContextVar("request", default=None)
