"""How long a replica takes, as a model with few numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

import numpy as np

from fleet.measured import SHARES

_DRAWN = 1 << 16


class Service(Protocol):
    """Times of one replica, in seconds, drawn anew at each call.

    Attributes
    ----------
    runs : batches at a time
    beside : that an answer comes later than its batch ends, on a busy replica
    refusal : of one processor, for a refusal
    """

    runs: int
    beside: float
    refusal: float

    def batch(self, pictures: int) -> float:
        """Return how long a batch takes, on one processor."""

    def alone(self) -> float:
        """Return how long a picture takes that has all processors to itself."""


@dataclass(frozen=True)
class Spread:
    """A time that is not always the same.

    Attributes
    ----------
    median : seconds
    above : shares of all -> seconds that the others are over the median, at most
    """

    median: float
    above: dict[float, float]

    @classmethod
    def of(cls, latency: dict[str, float]) -> "Spread":
        """Take measured percentiles; below the median all is taken to be the median."""
        median = latency["p50"]
        return cls(median, {share: latency[name] - median for name, share in SHARES.items()})

    def at(self, share: float) -> float:
        """Return the seconds that a share of all are not over."""
        return self.median + self.above[share]

    def draw(self, random: np.random.Generator) -> np.ndarray:
        """Draw how much is over the median, many times."""
        shares = sorted(self.above)
        values = [0.0, *(self.above[share] for share in shares)]
        return np.interp(random.random(_DRAWN), [0.0, *shares], values)


@dataclass(frozen=True)
class Times:
    """The numbers of the model, in seconds.

    Attributes
    ----------
    runs : batches at a time, one on each processor
    alone : of a picture that comes to an idle replica
    single : of a batch of one picture, on one processor
    each : of a batch, for each further picture
    beside : that an answer comes later than its batch ends, on a busy replica
    refusal : of one processor, for a refusal
    """

    runs: int
    alone: Spread
    single: Spread
    each: float
    beside: float = 0.0
    refusal: float = 0.0


class RandomService:
    """Draws from ``Times``.

    Parameters
    ----------
    speed : of the machine, against the measured one
    """

    def __init__(self, times: Times, seed: int, speed: float = 1.0) -> None:
        random = np.random.default_rng(seed)
        self.runs = times.runs
        self.beside = times.beside / speed
        self.refusal = times.refusal / speed
        self._each = times.each / speed
        self._single = _for_ever(times.single, random, speed)
        self._alone = _for_ever(times.alone, random, speed)

    def batch(self, pictures: int) -> float:
        """Return how long a batch takes, on one processor."""
        return next(self._single) + self._each * (pictures - 1)

    def alone(self) -> float:
        """Return how long a picture takes that has all processors to itself."""
        return next(self._alone)


def _for_ever(spread: Spread, random: np.random.Generator, speed: float) -> Iterator[float]:
    return cycle(((spread.median + spread.draw(random)) / speed).tolist())
