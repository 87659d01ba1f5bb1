"""What happens when the requests become many times as many at once."""

from dataclasses import dataclass

import numpy as np

from fleet.autoscaling import Autoscaler, Setup
from fleet.balancing import POLICIES
from fleet.running import Fleet, Outcome, poisson
from fleet.service import RandomService, Times

BEFORE_SECONDS = 60
AFTER_SECONDS = 240


@dataclass(frozen=True)
class Step:
    """A simulation; all arrays have one value a second.

    Attributes
    ----------
    offered, answered, refused : requests in a second, by when they came
    ready, wanted : replicas
    p99 : seconds, of the requests that came in the last 5 seconds; NaN where none was answered
    """

    setup: Setup
    offered: np.ndarray
    answered: np.ndarray
    refused: np.ndarray
    ready: np.ndarray
    wanted: np.ndarray
    p99: np.ndarray

    @property
    def refused_in_all(self) -> int:
        return int(self.refused.sum())

    @property
    def refused_share(self) -> float:
        """Of the requests after the step."""
        return self.refused_in_all / float(self.offered[BEFORE_SECONDS:].sum())

    def recovered_seconds(self, p99_seconds: float) -> int | None:
        """Return how long after the step there was the last refusal or p99 over a bound.

        None when that still went on at the end.
        """
        bad = np.flatnonzero((self.refused > 0) | (self.p99 > p99_seconds))
        if not len(bad) or bad[-1] < BEFORE_SECONDS:
            return 0
        return None if bad[-1] >= len(self.p99) - 2 else int(bad[-1]) + 1 - BEFORE_SECONDS


def step_in_load(
    times: Times, before: float, after: float, replicas: int, policy: str, setup: Setup
) -> Step:
    """Let requests a second go from ``before`` to ``after``, with an autoscaler."""
    fleet = Fleet(RandomService(times, seed=3), replicas, POLICIES[policy](3))
    autoscaler = Autoscaler(setup, fleet, times.runs)
    first = poisson(before, BEFORE_SECONDS, seed=4)
    then = poisson(after, AFTER_SECONDS, seed=5)
    arrivals = first + [BEFORE_SECONDS + due for due in then]
    outcome = fleet.run(arrivals, autoscaler.tick)
    return _series(outcome, setup, autoscaler)


def _series(outcome: Outcome, setup: Setup, autoscaler: Autoscaler) -> Step:
    seconds = np.arange(BEFORE_SECONDS + AFTER_SECONDS + 1)
    answered, _ = np.histogram(outcome.arrived, seconds)
    refused, _ = np.histogram(outcome.refused, seconds)
    history = np.array(autoscaler.history)
    known = seconds[:-1].clip(max=len(history) - 1)
    p99 = [
        _p99(outcome.latency[(outcome.arrived > end - 5) & (outcome.arrived <= end)])
        for end in seconds[1:]
    ]
    return Step(
        setup=setup,
        offered=answered + refused,
        answered=answered,
        refused=refused,
        ready=history[known, 1],
        wanted=history[known, 2],
        p99=np.array(p99),
    )


def _p99(latency: np.ndarray) -> float:
    return float(np.percentile(latency, 99)) if len(latency) else float("nan")
