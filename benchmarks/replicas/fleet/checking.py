"""The simulation of one replica against what was measured of one server."""

from dataclasses import dataclass

from fleet.balancing import at_random
from fleet.fitting import closed_loop, fitted_clients
from fleet.measured import Measured, OpenLoop
from fleet.running import Fleet, Outcome, constant
from fleet.service import RandomService, Times

# How far off a simulated throughput and latency may be, as a share of the measured one. A few
# milliseconds more or less are nothing to a promise of 250.
THROUGHPUT_TOLERANCE = 0.10
LATENCY_TOLERANCE = 0.35
_SECONDS = 60.0


@dataclass(frozen=True)
class Check:
    """One figure.

    Attributes
    ----------
    used : whether the model was made from this very figure
    """

    what: str
    unit: str
    measured: float
    simulated: float
    tolerance: float
    used: bool = False

    @property
    def error(self) -> float:
        """The difference as a share of the measured figure."""
        return self.simulated / self.measured - 1

    @property
    def within(self) -> bool:
        return abs(self.error) <= self.tolerance


def check(measured: Measured, times: Times) -> list[Check]:
    """Simulate all that was measured."""
    checks = []
    for clients, answered in sorted(measured.answered.items()):
        simulated = closed_loop(times, clients, _SECONDS)
        what = f"{clients} client{'s' * (clients > 1)}"
        used = clients in fitted_clients(measured)
        checks.append(Check(what, "answers/s", answered, simulated, THROUGHPUT_TOLERANCE, used))
    alone = _fleet(times).run_clients(1, _SECONDS)
    checks += _latencies("1 client", alone, measured.one_client, used=True)
    for step in measured.open_loop:
        half = step.latency == measured.half_load
        checks += _open_loop(f"at {step.load:.0%} of its throughput", step, times, half)
    overload = measured.overload
    checks += _open_loop(f"at {overload.load:.0f} times it", overload, times)
    return checks


def _open_loop(what: str, step: OpenLoop, times: Times, used: bool = False) -> list[Check]:
    outcome = _fleet(times).run(constant(step.offered, _SECONDS))
    answered = len(outcome.latency) / _SECONDS
    # What a refusal takes is made from the answers among many refusals.
    many = len(outcome.refused) > len(outcome.latency)
    checks = [Check(what, "answers/s", step.answered, answered, THROUGHPUT_TOLERANCE, many)]
    if step.latency:
        checks += _latencies(what, outcome, step.latency, used)
    return checks


def _latencies(
    what: str, outcome: Outcome, latency: dict[str, float], used: bool = False
) -> list[Check]:
    return [
        Check(
            what,
            f"{name}, ms",
            1000 * latency[name],
            1000 * outcome.percentile(percent),
            LATENCY_TOLERANCE,
            used,
        )
        for name, percent in (("p50", 50), ("p99", 99))
    ]


def _fleet(times: Times) -> Fleet:
    return Fleet(RandomService(times, seed=1), 1, at_random(1))
