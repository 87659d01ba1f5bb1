"""How long to wait for what, and the waits between attempts."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Waits in seconds.

    Attributes
    ----------
    attempts : times that a request or a push is tried, the first one included
    first : wait before the second attempt at most; it doubles with each one
    most : longest wait between two attempts, also where the server asks for more
    start : time that a release may take until its dynos are up and ready
    every : between two looks at the dynos
    """

    attempts: int = 5
    first: float = 1.0
    most: float = 60.0
    start: float = 300.0
    every: float = 3.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def before_retry(self, failures: int, retry_after: float = 0.0) -> bool:
        """Wait after a failed attempt; False to give up instead."""
        if failures >= self.attempts or retry_after > self.most:
            return False
        longest = min(self.first * 2.0 ** (failures - 1), self.most)
        # Never less than asked for; the jitter keeps two deployments from coming back together.
        self.sleep(min(retry_after + random.random() * longest, self.most))
        return True

    def looks(self) -> Iterator[None]:
        """Come round at once, then every few seconds until ``start`` is over."""
        end = self.clock() + self.start
        yield
        while self.clock() < end:
            self.sleep(self.every)
            yield
