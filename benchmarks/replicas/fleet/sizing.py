"""How many replicas keep a promise at a rate of requests.

Requests of a high rate are divided among cells, each with a balancer of its own: what divides
them (DNS, anycast, a balancer of connections) knows nothing of queues. A random part of a Poisson
stream is a Poisson stream, so that the cells are alike and independent, and one of them, simulated
for itself, says all. Least connections in a cell is then also what a balancer can do: it sees the
replicas of its cell, not thousands.
"""

from dataclasses import dataclass
from math import ceil

from doctor_derma.errors import DermaError
from fleet.balancing import POLICIES
from fleet.fitting import MAX_BATCH
from fleet.running import Fleet, Outcome, poisson
from fleet.service import RandomService, Times

# Of a simulation, left out while queues fill.
_WARM_UP = 0.05


@dataclass(frozen=True)
class Promise:
    """What answers must be like.

    Attributes
    ----------
    p99_seconds : of the answers' latency, from the balancer on
    refused : share of requests that may be answered with 503
    """

    p99_seconds: float = 0.25
    refused: float = 0.001


@dataclass(frozen=True)
class Run:
    """One simulation.

    Attributes
    ----------
    rate : requests a second
    load : of the replicas' highest throughput
    waiting : pictures at a replica, accepted and not yet answered, on average
    """

    rate: float
    replicas: int
    load: float
    waiting: float
    p50: float
    p99: float
    refused: float

    def keeps(self, promise: Promise) -> bool:
        return self.p99 <= promise.p99_seconds and self.refused < promise.refused


@dataclass(frozen=True)
class Size:
    """The fewest replicas that keep the promise.

    Attributes
    ----------
    rate : requests a second, of all cells
    cells : groups of replicas, each with a balancer of its own
    runs : simulations of one cell with ever more replicas; the last one keeps the promise
    """

    rate: float
    policy: str
    cells: int
    runs: list[Run]

    @property
    def kept(self) -> Run:
        return self.runs[-1]

    @property
    def replicas(self) -> int:
        return self.cells * self.kept.replicas


def capacity(times: Times) -> float:
    """Return the pictures a second of a replica with full batches, on average."""
    service = RandomService(times, seed=0)
    drawn = 1000
    return times.runs * MAX_BATCH * drawn / sum(service.batch(MAX_BATCH) for _ in range(drawn))


def simulate(
    times: Times, rate: float, replicas: int, policy: str, requests: int, speed: float = 1.0
) -> Run:
    """Simulate one cell until so many requests have come."""
    seed = replicas
    seconds = requests / rate
    fleet = Fleet(RandomService(times, seed, speed), replicas, POLICIES[policy](seed))
    outcome = fleet.run(poisson(rate, seconds, seed)).since(_WARM_UP * seconds)
    return _summary(outcome, rate, replicas, rate / (replicas * speed * capacity(times)))


def size(
    times: Times,
    rate: float,
    policy: str,
    promise: Promise,
    cell: float,
    requests: int,
    speed: float = 1.0,
) -> Size:
    """Find the fewest replicas.

    Parameters
    ----------
    cell : requests a second that one balancer takes at most
    requests : of each simulation
    speed : of the machine, against the measured one

    Raises
    ------
    DermaError
        When not even an idle replica keeps the promise.
    """
    idle = times.alone.at(0.99) / speed
    if idle > promise.p99_seconds:
        raise DermaError(
            f"p99: an idle replica's own is {1000 * idle:.0f} ms, over "
            f"{1000 * promise.p99_seconds:.0f} ms; promise more, or take faster machines"
        )
    cells = ceil(rate / cell)
    each = rate / cells
    replicas = max(1, ceil(each / (speed * capacity(times))))
    runs = [simulate(times, each, replicas, policy, requests, speed)]
    while not runs[-1].keeps(promise):
        replicas += 1
        runs.append(simulate(times, each, replicas, policy, requests, speed))
    return Size(rate, policy, cells, runs)


def _summary(outcome: Outcome, rate: float, replicas: int, load: float) -> Run:
    # Little's law: as many are there as come in the time that one stays.
    stay = float(outcome.latency.mean()) if len(outcome.latency) else 0.0
    return Run(
        rate=rate,
        replicas=replicas,
        load=load,
        waiting=rate * (1 - outcome.refused_share) * stay / replicas,
        p50=outcome.percentile(50),
        p99=outcome.percentile(99),
        refused=outcome.refused_share,
    )
