"""How many replicas of the server a rate of requests needs, and what they cost.

A simulation, from what ``benchmarks/serving/run.py`` measured of one server on one machine:
replicas behind a load balancer, with the server's own queue and batches. Prices are arguments;
docs/scaling/serving.md has the table, and says where the defaults are from.

Takes a few minutes; needs nothing.
"""

import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from typer import Option

from command import run
from doctor_derma.errors import DermaError
from doctor_derma.server.settings import Settings

# Of a network of eight times the work: what it is fitted to is all pictures, hardly any HTTP.
MEASURED = Path(__file__).resolve().parent / "serving" / "results" / "serving_resnet18.json"
# Pictures in a batch of the server that was measured.
QUEUE_LIMIT, MAX_BATCH = Settings().queue_limit, 4
# Of the percentiles in the file, the shares of all requests that are not over each.
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
HOURS_A_MONTH = 730
# Of a simulation, left out while queues fill.
WARM_UP = 0.05
_DRAWN = 1 << 16
_FIT_SECONDS = 60.0


@dataclass(frozen=True)
class Measured:
    """One server on one machine; rates in requests a second, latencies in seconds.

    Attributes
    ----------
    answered : clients without a pause between requests -> answers a second
    alone, half : percentiles of the latency of one client, and at half of the throughput
    offered, kept : requests and answers in time at many times the throughput
    """

    processors: int
    answered: dict[int, float]
    alone: dict[str, float]
    half: dict[str, float]
    offered: float
    kept: float

    @property
    def capacity(self) -> float:
        return self.answered[max(self.answered)]


def read_measured(path: Path) -> Measured:
    """Read the results of the serving benchmark.

    Raises
    ------
    DermaError
        When the file can't be read, or lacks the measurements of our server.
    """
    again = "make it again with: python benchmarks/serving/run.py"
    try:
        results = json.loads(path.read_text())
        ours = results["servers"]["ours"]
        alone = ours["one_client"]["latency_ms"]
        steps = [step for step in ours["open_loop"] if step["latency_ms"]]
        half = min(steps, key=lambda step: abs(step["load"] - 0.5), default={"latency_ms": alone})
        return Measured(
            processors=results["machine"]["processors"],
            answered={step["clients"]: step["answered_per_second"] for step in ours["closed_loop"]},
            alone={name: alone[name] / 1000 for name in SHARES},
            half={name: half["latency_ms"][name] / 1000 for name in SHARES},
            offered=ours["overload"]["offered_per_second"],
            kept=ours["overload"]["answered_per_second"],
        )
    except OSError as error:
        raise DermaError(f"{path}: can't be read ({error.strerror}); {again}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DermaError(
            f"{path}: lacks what was measured of our server ({error!r}); {again}"
        ) from error


@dataclass(frozen=True)
class Times:
    """How long a replica takes, in seconds. Spreads are percentiles by the names of SHARES.

    Attributes
    ----------
    runs : batches at a time, one on each processor
    alone : of a picture that comes to an idle replica and has all processors
    single : of a batch of one picture, on one processor
    each : of a batch, for each further picture
    beside : that an answer comes later than its batch ends, on a busy replica
    refusal : of one processor, for a refusal
    """

    runs: int
    alone: dict[str, float]
    single: dict[str, float]
    each: float
    beside: float = 0.0
    refusal: float = 0.0


class Service:
    """Draws from ``Times``, for a machine of another speed than the measured one's."""

    def __init__(self, times: Times, seed: int, speed: float = 1.0) -> None:
        generator = np.random.default_rng(seed)
        self.runs = times.runs
        self.beside = times.beside / speed
        self.refusal = times.refusal / speed
        self._each = times.each / speed
        self._single = _draws(times.single, generator, speed)
        self._alone = _draws(times.alone, generator, speed)

    def batch(self, pictures: int) -> float:
        """Return how long a batch takes, on one processor."""
        return next(self._single) + self._each * (pictures - 1)

    def alone(self) -> float:
        """Return how long a picture takes that has all processors to itself."""
        return next(self._alone)


def _draws(
    spread: dict[str, float], generator: np.random.Generator, speed: float
) -> Iterator[float]:
    # Below the median all is taken to be the median.
    values = [spread["p50"], *(spread[name] for name in SHARES)]
    drawn = np.interp(generator.random(_DRAWN), [0.0, *SHARES.values()], values)
    return cycle((drawn / speed).tolist())


class Queued(Protocol):
    """A replica as a balancer sees it: requests that it has not answered yet."""

    waiting: int


Choose = Callable[[Sequence[Queued]], int]


def at_random(seed: int) -> Choose:
    """Choose any: kube-proxy with iptables, Heroku's router."""
    draw = random.Random(seed).random
    return lambda replicas: int(draw() * len(replicas))


def in_turn(seed: int) -> Choose:
    """Choose the next: most ingress controllers, unless told otherwise."""
    turns = iter(range(seed + 1, 1 << 62))
    return lambda replicas: next(turns) % len(replicas)


def two_choices(seed: int) -> Choose:
    """Draw two, take the one with fewer unanswered requests (Mitzenmacher, 2001)."""
    draw = at_random(seed)
    return lambda replicas: min(draw(replicas), draw(replicas), key=lambda i: replicas[i].waiting)


def least_waiting(seed: int) -> Choose:
    """Choose one with the fewest unanswered requests; it takes one balancer that sees them all."""
    draw = at_random(seed)

    def choose(replicas: Sequence[Queued]) -> int:
        first = draw(replicas)
        order = (*range(first, len(replicas)), *range(first))
        return min(order, key=lambda i: replicas[i].waiting)

    return choose


POLICIES: dict[str, Callable[[int], Choose]] = {
    "random": at_random,
    "round robin": in_turn,
    "two choices": two_choices,
    "least connections": least_waiting,
}


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


class Replica:
    """One server.

    Attributes
    ----------
    waiting : pictures that are accepted and not yet answered, ``derma_waiting_pictures``
    queue : when each picture arrived that is in no batch yet
    free : batches that could start at once
    owed : seconds of a processor that refusals have taken since the last batch began
    """

    __slots__ = ("free", "owed", "queue", "waiting")

    def __init__(self, runs: int) -> None:
        self.waiting = 0
        self.queue: deque[float] = deque()
        self.free = runs
        self.owed = 0.0


class Fleet:
    """Replicas that one balancer chooses from, event by event.

    A replica is the server's engine (``doctor_derma/server/engine``): it accepts pictures up to a
    bound and refuses the next at once; whenever a processor is free, it takes all pictures that
    wait, up to a full batch; a picture that finds the replica idle gets all processors. The
    network between is perfect.
    """

    def __init__(
        self,
        service: Any,
        count: int,
        choose: Choose,
        queue_limit: int = QUEUE_LIMIT,
        max_batch: int = MAX_BATCH,
    ) -> None:
        self.replicas = [Replica(service.runs) for _ in range(count)]
        self._service, self._choose = service, choose
        self._limit, self._most = queue_limit, max_batch
        self._ends: list[tuple[float, int, float, Replica, list[float]]] = []
        self._batches = 0
        self._arrived: list[float] = []
        self._latency: list[float] = []
        self._refused: list[float] = []

    def run(self, arrivals: Iterable[float]) -> Outcome:
        """Let requests come at these seconds, in order, and answer all."""
        for due in arrivals:
            while self._ends and self._ends[0][0] <= due:
                self._end()
            self._arrive(due)
        while self._ends:
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
        end = now + seconds + replica.owed
        replica.owed = 0.0
        replica.free -= 1
        self._batches += 1
        heappush(self._ends, (end, self._batches, beside, replica, batch))

    def _end(self) -> float:
        """Answer the batch that ends next; return when."""
        now, _, beside, replica, batch = heappop(self._ends)
        replica.free += 1
        replica.waiting -= len(batch)
        self._arrived += batch
        self._latency += [now + beside - arrived for arrived in batch]
        if replica.queue:
            self._start(now, replica)
        return now


def poisson(rate: float, seconds: float, seed: int) -> list[float]:
    """Return arrivals of people who don't know of each other."""
    generator = np.random.default_rng(seed)
    count = generator.poisson(rate * seconds)
    return (np.sort(generator.random(count)) * seconds).tolist()


def fit(measured: Measured) -> Times:
    """Fit the model to one server.

    - One client's latency is the time of a picture alone.
    - The time of a batch, of one picture and of each further one, is such that a simulated server
      gives as many answers a second to 32 clients, and to 8, as the measured one did.
    - The latency at half the throughput is the time of a batch of one, its spread, and what an
      answer takes beside it.
    - What a refusal takes of a processor is the throughput that was missing at ten times as many
      requests, divided by the refusals.
    """
    refused = measured.offered - measured.kept
    missing = max(0.0, 1 - measured.kept / measured.capacity) * measured.processors
    refusal = missing / refused if refused > 0 else 0.0
    first, median = measured.processors / measured.capacity, measured.half["p50"]
    times = Times(measured.processors, measured.alone, measured.half, first, refusal=refusal)
    several = sorted(count for count in measured.answered if count > measured.processors)
    few, many = several[-2:] if len(several) > 1 else several * 2
    # A batch of one takes no more than its answer, and hardly less than half of a picture's share.
    low, high = first / 2, median
    for _ in range(7):
        middle = (low + high) / 2
        single = {name: value - median + middle for name, value in measured.half.items()}
        times = replace(times, single=single, beside=max(0.0, median - middle))
        for _ in range(4):
            # Most of the time is the pictures', so that their time is wrong as the throughput is.
            ratio = closed_loop(times, many, _FIT_SECONDS) / measured.answered[many]
            times = replace(times, each=times.each * ratio)
        if closed_loop(times, few, _FIT_SECONDS) > measured.answered[few]:
            low = middle
        else:
            high = middle
    return times


def closed_loop(times: Times, clients: int, seconds: float) -> float:
    """Return the answers a second of one simulated replica with so many clients."""
    fleet = Fleet(Service(times, seed=0), 1, at_random(0))
    return len(fleet.run_clients(clients, seconds).latency) / seconds


def capacity(times: Times) -> float:
    """Return the pictures a second of a replica with full batches, on average."""
    service = Service(times, seed=0)
    return times.runs * MAX_BATCH * 1000 / sum(service.batch(MAX_BATCH) for _ in range(1000))


@dataclass(frozen=True)
class Size:
    """Replicas at a rate of requests a second, with what a simulation of one cell says.

    Attributes
    ----------
    cells : groups of as many replicas, each with a balancer of its own
    load : of the replicas' highest throughput
    """

    rate: float
    policy: str
    cells: int
    replicas: int
    load: float
    p50: float
    p99: float
    refused: float


def simulate(
    times: Times, rate: float, replicas: int, policy: str, requests: int, speed: float = 1.0
) -> Size:
    """Simulate one cell until so many requests have come."""
    seconds = requests / rate
    fleet = Fleet(Service(times, replicas, speed), replicas, POLICIES[policy](replicas))
    outcome = fleet.run(poisson(rate, seconds, seed=replicas)).since(WARM_UP * seconds)
    load = rate / (replicas * speed * capacity(times))
    found = (outcome.percentile(50), outcome.percentile(99), outcome.refused_share)
    return Size(rate, policy, 1, replicas, load, *found)


def size(
    times: Times,
    rate: float,
    policy: str,
    *,
    cell: float = 1000,
    p99: float = 0.25,
    refused: float = 0.001,
    requests: int = 100_000,
    speed: float = 1.0,
) -> Size:
    """Find the fewest replicas.

    A high rate is divided among cells: what divides it (DNS, anycast) knows nothing of queues, and
    a random part of a Poisson stream is a Poisson stream, so that one cell says all.

    Parameters
    ----------
    cell : requests a second that one balancer takes at most
    p99 : seconds that 99 in 100 answers keep
    refused : share of requests that may be answered with 503
    requests : of each simulation
    speed : of the machine, against the measured one

    Raises
    ------
    DermaError
        When not even an idle replica is as fast.
    """
    idle = times.alone["p99"] / speed
    if idle > p99:
        raise DermaError(
            f"p99: an idle replica's own is {1000 * idle:.0f} ms, over {1000 * p99:.0f} ms; "
            "promise more, or take faster machines"
        )
    cells = ceil(rate / cell)
    replicas = max(1, ceil(rate / cells / (speed * capacity(times))))
    while True:
        found = simulate(times, rate / cells, replicas, policy, requests, speed)
        if found.p99 <= p99 and found.refused < refused:
            return replace(found, rate=rate, cells=cells, replicas=cells * replicas)
        replicas += 1


@dataclass(frozen=True)
class Prices:
    """US dollars, without tax, discounts, traffic and storage.

    Attributes
    ----------
    node_hour : of a Kubernetes node
    node_replicas : that fit on one
    cluster_hour : of the control plane
    """

    node_hour: float = 0.34
    node_replicas: int = 4
    cluster_hour: float = 0.10

    def nodes(self, replicas: int, zones: int = 1) -> int:
        """Return how many nodes hold so many replicas, at least one in each zone."""
        return max(zones, ceil(replicas / self.node_replicas))

    def month(self, replicas: int, zones: int = 1) -> float:
        """Return what the nodes and one control plane cost a month."""
        return HOURS_A_MONTH * (self.nodes(replicas, zones) * self.node_hour + self.cluster_hour)


def table(sizes: Sequence[Size], prices: Prices) -> str:
    """Return replicas and costs in Markdown; two replicas are paid, so that one may fail."""
    headings = [
        *("requests/s", "balancing", "cells", "replicas", "load", "p50, ms", "p99, ms"),
        *("refused", "nodes", "$ a month", "$, one zone of three spare"),
    ]
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)]]
    for found in sizes:
        paid = max(found.replicas, 2)
        lines.append(
            [
                *(f"{found.rate:,.0f}", found.policy, str(found.cells), f"{found.replicas:,}"),
                *(f"{found.load:.0%}", f"{1000 * found.p50:.0f}", f"{1000 * found.p99:.0f}"),
                *(f"{found.refused:.3%}", f"{prices.nodes(paid):,}", f"{prices.month(paid):,.0f}"),
                f"{prices.month(ceil(1.5 * paid), zones=3):,.0f}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(
    measured: Annotated[Path, Option(help="results of the serving benchmark")] = MEASURED,
    rates: Annotated[str, Option(help="requests a second, separated by commas")] = "10,1000,100000",
    p99: Annotated[float, Option(help="milliseconds that 99 in 100 answers keep")] = 250,
    refused: Annotated[float, Option(help="share that may be answered with 503")] = 0.001,
    cell: Annotated[float, Option(help="requests a second of one balancer, at most")] = 1000,
    requests: Annotated[int, Option(help="of each simulation")] = 100_000,
    speed: Annotated[float, Option(help="of the machines, against the measured one")] = 1.0,
    node_hour: Annotated[float, Option(help="dollars of a node")] = Prices.node_hour,
    node_replicas: Annotated[int, Option(help="that fit on a node")] = Prices.node_replicas,
    cluster_hour: Annotated[float, Option(help="of the control plane")] = Prices.cluster_hour,
) -> None:
    times = fit(read_measured(measured))
    asked = {"cell": cell, "p99": p99 / 1000, "refused": refused}
    asked |= {"requests": requests, "speed": speed}
    sizes = [
        size(times, float(rate), policy, **asked)
        for rate in rates.split(",")
        for policy in POLICIES
    ]
    print(table(sizes, Prices(node_hour, node_replicas, cluster_hour)))


if __name__ == "__main__":
    run(main)
