"""A bound on accepted pictures, and the errors for those that are refused or not answered."""

from collections import deque
from math import ceil
from time import monotonic

LONGEST_RETRY_SECONDS = 30


class Overloaded(Exception):  # noqa: N818
    """The queue is full; another picture could not be answered soon.

    Attributes
    ----------
    retry_after : seconds after which there should be room
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"try again in {retry_after} s")
        self.retry_after = retry_after


class Draining(Overloaded):
    """The engine is starting or stopping."""


class DeadlineExceeded(Exception):  # noqa: N818
    """The picture waited too long."""


class NetworkFailed(Exception):  # noqa: N818
    """The network failed on the picture's batch; the message is the traceback."""


class Admission:
    """A bound on the pictures that are accepted and not yet answered.

    A new picture waits for all that wait already. An unbounded queue grows until no picture is
    answered in time, although the server is always busy.
    """

    def __init__(self, limit: int) -> None:
        self.waiting = 0
        self._limit = limit
        self._answered: deque[float] = deque(maxlen=max(limit, 2))
        # Time that passed while there was work, so that idle hours don't count as slowness.
        self._busy_before = 0.0
        self._busy_since = 0.0

    @property
    def room(self) -> int:
        """Pictures that would be accepted now."""
        return self._limit - self.waiting

    @property
    def retry_after(self) -> int:
        """Whole seconds after which the present queue should be answered, at the recent rate."""
        if len(self._answered) < 2:
            return 1
        seconds = (self._busy() - self._answered[0]) / len(self._answered)
        return min(max(ceil(self.waiting * seconds), 1), LONGEST_RETRY_SECONDS)

    def enter(self) -> None:
        """Accept a picture.

        Raises
        ------
        Overloaded
            When the queue is full.
        """
        if self.room <= 0:
            raise Overloaded(self.retry_after)
        if not self.waiting:
            self._busy_since = monotonic()
        self.waiting += 1

    def leave(self, answered: bool) -> None:
        """Note that a picture was answered, or given up."""
        if answered:
            self._answered.append(self._busy())
        self.waiting -= 1
        if not self.waiting:
            self._busy_before += monotonic() - self._busy_since

    def _busy(self) -> float:
        return self._busy_before + (monotonic() - self._busy_since if self.waiting else 0.0)
