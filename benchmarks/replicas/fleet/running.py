"""Replicas behind a load balancer, event by event.

A replica is the server's engine (``doctor_derma/server/engine``): it accepts pictures up to a
bound and refuses the next at once; whenever a processor is free, it takes all pictures that wait,
up to a full batch; a picture that finds the replica idle gets all processors. Nothing else is
simulated: the network between is perfect. Refusals take a little of a processor, which the next
batch has to wait for.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

import numpy as np

from doctor_derma.server.settings import Settings
from fleet.balancing import Choose
from fleet.service import Service

_SETTINGS = Settings()
Tick = Callable[[float], None]


class Replica:
    """One server.

    Attributes
    ----------
    waiting : pictures that are accepted and not yet answered, ``derma_waiting_pictures``
    queue : when each picture arrived that is in no batch yet
    free : batches that could start at once
    busy : seconds of all batches so far, to their ends
    owed : seconds of a processor that refusals have taken since the last batch began
    """

    __slots__ = ("busy", "free", "owed", "queue", "waiting")

    def __init__(self, runs: int) -> None:
        self.waiting = 0
        self.queue: deque[float] = deque()
        self.free = runs
        self.busy = 0.0
        self.owed = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of the requests, in seconds since the start.

    Attributes
    ----------
    arrived : when each answered request arrived, float64 (answered,)
    latency : how long its answer took, float64 (answered,)
    refused : when each refused request arrived, float64 (refused,)
    """

    arrived: np.ndarray
    latency: np.ndarray
    refused: np.ndarray

    def since(self, start: float) -> "Outcome":
        """Return the same without requests that arrived before."""
        kept = self.arrived >= start
        late = self.refused[self.refused >= start]
        return Outcome(self.arrived[kept], self.latency[kept], late)

    @property
    def refused_share(self) -> float:
        """Of all requests, those that were refused."""
        total = len(self.latency) + len(self.refused)
        return len(self.refused) / total if total else 0.0

    def percentile(self, percent: float) -> float:
        """Return a percentile of the latency; NaN when nothing was answered."""
        return float(np.percentile(self.latency, percent)) if len(self.latency) else float("nan")


class Fleet:
    """Replicas that one balancer chooses from; ``grow`` adds some while they run.

    Parameters
    ----------
    service : times of a replica
    count : replicas at the start
    choose : the balancer
    queue_limit : pictures that a replica accepts
    max_batch : pictures in a batch
    """

    def __init__(
        self,
        service: Service,
        count: int,
        choose: Choose,
        queue_limit: int = _SETTINGS.queue_limit,
        max_batch: int = _SETTINGS.max_batch,
    ) -> None:
        self.replicas: list[Replica] = []
        self._service = service
        self._choose = choose
        self._limit = queue_limit
        self._most = max_batch
        # When each batch ends, its number, and what its answers come later than that.
        self._ends: list[tuple[float, int, float, Replica, list[float]]] = []
        self._batches = 0
        self._arrived: list[float] = []
        self._latency: list[float] = []
        self._refused: list[float] = []
        self.grow(count)

    def grow(self, count: int) -> None:
        """Add replicas, which take pictures at once."""
        self.replicas += [Replica(self._service.runs) for _ in range(count)]

    def run(self, arrivals: Iterable[float], tick: Tick | None = None) -> Outcome:
        """Let requests come at their times, ascending; ``tick`` is called every second."""
        ends, second = self._ends, 0.0 if tick else inf
        for due in arrivals:
            while second <= due:
                while ends and ends[0][0] <= second:
                    self._end()
                tick(second)  # type: ignore[misc]
                second += 1.0
            while ends and ends[0][0] <= due:
                self._end()
            self._arrive(due)
        while ends:
            self._end()
        return self._outcome()

    def run_clients(self, clients: int, seconds: float) -> Outcome:
        """Let clients send their next request when they have the answer to the last one."""
        for _ in range(clients):
            self._arrive(0.0)
        now = 0.0
        while now < seconds:
            before = len(self._latency)
            now = self._end()
            for _ in range(len(self._latency) - before):
                self._arrive(now)
        return self._outcome()

    def _outcome(self) -> Outcome:
        return Outcome(*map(np.array, (self._arrived, self._latency, self._refused)))

    def _arrive(self, now: float) -> None:
        replica = self.replicas[self._choose(self.replicas)]
        if replica.waiting >= self._limit:
            replica.owed += self._service.refusal
            self._refused.append(now)
            return
        replica.waiting += 1
        replica.queue.append(now)
        if replica.free:
            self._start(now, replica)

    def _start(self, now: float, replica: Replica) -> None:
        queue = replica.queue
        batch = [queue.popleft() for _ in range(min(len(queue), self._most))]
        undisturbed = len(batch) == 1 and replica.free == self._service.runs
        seconds = self._service.alone() if undisturbed else self._service.batch(len(batch))
        beside = 0.0 if undisturbed else self._service.beside
        seconds += replica.owed
        replica.owed = 0.0
        replica.free -= 1
        replica.busy += seconds
        self._batches += 1
        heappush(self._ends, (now + seconds, self._batches, beside, replica, batch))

    def _end(self) -> float:
        """Answer the batch that ends next; return when."""
        now, _, beside, replica, batch = heappop(self._ends)
        replica.free += 1
        replica.waiting -= len(batch)
        self._arrived += batch
        answered = now + beside
        self._latency += [answered - arrived for arrived in batch]
        if replica.queue:
            self._start(now, replica)
        return now


def constant(rate: float, seconds: float) -> list[float]:
    """Return arrivals at even distances, as the serving benchmark's open loop sends them."""
    return (np.arange(int(rate * seconds)) / rate).tolist()


def poisson(rate: float, seconds: float, seed: int) -> list[float]:
    """Return arrivals of people who don't know of each other."""
    random = np.random.default_rng(seed)
    count = random.poisson(rate * seconds)
    return (np.sort(random.random(count)) * seconds).tolist()
