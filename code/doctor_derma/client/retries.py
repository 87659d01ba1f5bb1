"""When to ask again, and when to give up."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Too many requests, bad gateway, busy or stopping, gateway timeout: all pass by themselves.
PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Retries:
    """How patient a client is.

    Attributes
    ----------
    attempts : times that a request is sent, the first one included
    first_seconds : wait before the second attempt at most; it doubles with each one
    most_seconds : wait between two attempts at most, where the server asks for none
    patience_seconds : time after which no new attempt is begun and none goes on
    """

    attempts: int = 5
    first_seconds: float = 0.5
    most_seconds: float = 8.0
    patience_seconds: float = 60.0


class Backoff:
    """The waits of one request: exponential with full jitter, never less than Retry-After.

    The jitter, a uniform share of the wait, keeps clients that failed together from coming
    back together (Brooker, "Exponential Backoff And Jitter", 2015).
    """

    def __init__(
        self,
        retries: Retries,
        clock: Callable[[], float] = time.monotonic,
        share: Callable[[], float] = random.random,
    ) -> None:
        self._retries = retries
        self._clock = clock
        self._share = share
        self._failures = 0
        self._end = clock() + retries.patience_seconds

    def remaining(self) -> float:
        """Return the seconds until patience ends, at least a little."""
        return max(self._end - self._clock(), 0.001)

    def wait(self, retry_after: float = 0.0) -> float | None:
        """Return the seconds to wait after a failed attempt; None to give up."""
        self._failures += 1
        if self._failures >= self._retries.attempts:
            return None
        longest = self._retries.first_seconds * 2.0 ** (self._failures - 1)
        wait = retry_after + self._share() * min(longest, self._retries.most_seconds)
        return None if wait > self._end - self._clock() else wait


def read_retry_after(value: str | None) -> float:
    """Return the seconds in a Retry-After header, which may be a date; 0 for none."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
