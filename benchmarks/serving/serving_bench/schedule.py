"""When an open loop sends: at its own pace, whatever the server does."""

from collections.abc import Iterator


def arrivals(rate: float, seconds: float) -> Iterator[float]:
    """Yield the seconds after the start at which requests are due, ``1 / rate`` apart."""
    index = 0
    while (due := index / rate) < seconds:
        yield due
        index += 1
