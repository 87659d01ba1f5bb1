"""A server's memory, second by second."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from serving_bench.process_tree import Memory
from serving_bench.serving import Served


@dataclass
class Watch:
    """Samples: seconds since the start, and memory."""

    times: list[float] = field(default_factory=list)
    samples: list[Memory] = field(default_factory=list)

    @property
    def peak(self) -> Memory:
        return max(self.samples)


@contextmanager
def watching(server: Served, every: float = 1.0) -> Iterator[Watch]:
    """Sample a server's memory each second until the block ends."""
    watch, over = Watch(), Event()
    start = time.monotonic()

    def sample() -> None:
        while True:
            watch.times.append(time.monotonic() - start)
            watch.samples.append(server.memory())
            if over.wait(every):
                return

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def growth(requests: Sequence[float], megabytes: Sequence[float]) -> float | None:
    """Return the slope of memory over the second half of requests, in MB per 100,000.

    By least squares; the first half is for caches and pools to fill. None with fewer than 3
    samples there.
    """
    half = requests[-1] / 2 if requests else 0.0
    pairs = [pair for pair in zip(requests, megabytes, strict=True) if pair[0] >= half]
    if len(pairs) < 3:
        return None
    mean_x = sum(x for x, _ in pairs) / len(pairs)
    mean_y = sum(y for _, y in pairs) / len(pairs)
    spread = sum((x - mean_x) ** 2 for x, _ in pairs)
    if not spread:
        return None
    return 100_000 * sum((x - mean_x) * (y - mean_y) for x, y in pairs) / spread
