"""A HorizontalPodAutoscaler, as ``deployment/scale/serving/autoscaler.yaml`` sets it up.

The algorithm is Kubernetes' own (its documentation of horizontal pod autoscaling): every 15
seconds, the wanted number is ``ceil(sum over the ready replicas / target)``, where replicas that
are not ready yet count as 0; nothing happens within a tenth of the target; growth is bounded.
Shrinking, which waits for five minutes of less load, is left out.
"""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

from fleet.running import Fleet

SYNC_SECONDS = 15
TOLERANCE = 0.1


@dataclass(frozen=True)
class Setup:
    """An autoscaler.

    Attributes
    ----------
    measure : ``queue`` for waiting pictures, ``cpu`` for the share of time that processors work
    target : of the measure, for each replica
    start_seconds : from the wish for a replica until it is ready
    most : replicas
    scrape_seconds : between two looks at the measure
    """

    measure: str
    target: float
    start_seconds: float
    most: int = 32
    scrape_seconds: int = 15


@dataclass
class Autoscaler:
    """Watches a fleet and adds replicas; ``tick`` belongs in ``Fleet.run``.

    Attributes
    ----------
    history : second, ready replicas, wanted replicas
    """

    setup: Setup
    fleet: Fleet
    runs: int
    history: list[tuple[float, int, int]] = field(default_factory=list)
    _coming: deque[float] = field(default_factory=deque)
    _seen: float = 0.0
    _busy: float = 0.0

    def tick(self, now: float) -> None:
        """Do what is due at this second."""
        while self._coming and self._coming[0] <= now:
            self._coming.popleft()
            self.fleet.grow(1)
        if now % self.setup.scrape_seconds == 0:
            self._look()
        if now % SYNC_SECONDS == 0:
            self._sync(now)
        ready = len(self.fleet.replicas)
        self.history.append((now, ready, ready + len(self._coming)))

    def _look(self) -> None:
        replicas = self.fleet.replicas
        if self.setup.measure == "queue":
            self._seen = float(sum(replica.waiting for replica in replicas))
        else:
            busy = sum(replica.busy for replica in replicas)
            seconds = self.setup.scrape_seconds * self.runs
            # The end of a batch may lie past the look, but no processor works twice.
            self._seen = min((busy - self._busy) / seconds, float(len(replicas)))
            self._busy = busy

    def _sync(self, now: float) -> None:
        ready, coming = len(self.fleet.replicas), len(self._coming)
        if self._seen <= (1 + TOLERANCE) * self.setup.target * (ready + coming):
            return
        wanted = ceil(self._seen / self.setup.target)
        # Kubernetes' own bounds on growth: twice as many, or four more, in 15 seconds.
        bound = max(2 * (ready + coming), ready + coming + 4)
        more = min(wanted, bound, self.setup.most) - ready - coming
        self._coming += [now + self.setup.start_seconds] * max(0, more)
