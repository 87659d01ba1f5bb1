"""What ``benchmarks/serving/run.py`` measured of one server."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor_derma.errors import DermaError

# Of the percentiles in the file, the shares of all requests that are not over each.
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}


@dataclass(frozen=True)
class OpenLoop:
    """Requests at a constant rate.

    Attributes
    ----------
    load : the rate as a share of the server's highest throughput
    offered : requests a second
    answered : answers in time a second
    latency : percentiles in seconds; None when nothing was answered
    """

    load: float
    offered: float
    answered: float
    latency: dict[str, float] | None


@dataclass(frozen=True)
class Measured:
    """One server on one machine.

    Attributes
    ----------
    answered : clients without a pause between requests -> answers a second
    one_client : percentiles of the latency in seconds
    open_loop : two moderate loads
    overload : ten times the throughput
    ready_seconds : from the start of the process until it takes pictures
    """

    machine: str
    processors: int
    made: str
    answered: dict[int, float]
    one_client: dict[str, float]
    open_loop: list[OpenLoop]
    overload: OpenLoop
    ready_seconds: float

    @property
    def half_load(self) -> dict[str, float]:
        """Percentiles of the latency at about half of the throughput, in seconds."""
        known = [step for step in self.open_loop if step.latency]
        if not known:
            return self.one_client
        return min(known, key=lambda step: abs(step.load - 0.5)).latency or self.one_client

    @property
    def capacity(self) -> float:
        """Answers a second with the most clients."""
        return self.answered[max(self.answered)]


def read_measured(path: Path) -> Measured:
    """Read the results of the serving benchmark.

    Raises
    ------
    DermaError
        When the file can't be read, or lacks the measurements of our server.
    """
    try:
        results = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DermaError(
            f"{path}: not there; make it with: python benchmarks/serving/run.py"
        ) from error
    except (OSError, ValueError) as error:
        raise DermaError(f"{path}: can't be read ({error}); make it again") from error
    try:
        return _parse(results)
    except (KeyError, TypeError, ValueError) as error:
        raise DermaError(
            f"{path}: lacks what was measured of our server ({error!r}); make it again with: "
            "python benchmarks/serving/run.py"
        ) from error


def _parse(results: dict[str, Any]) -> Measured:
    ours, machine = results["servers"]["ours"], results["machine"]
    one_client = _seconds(ours["one_client"]["latency_ms"])
    if one_client is None:
        raise ValueError("no latency of one client")
    overload = ours["overload"]
    return Measured(
        machine=machine["processor"],
        processors=machine["processors"],
        made=results["made"],
        answered={step["clients"]: step["answered_per_second"] for step in ours["closed_loop"]},
        one_client=one_client,
        open_loop=[_open_loop(step, step["load"]) for step in ours["open_loop"]],
        overload=_open_loop(overload, overload["offered_per_second"] / ours["capacity_per_second"]),
        ready_seconds=ours["ready_seconds"],
    )


def _open_loop(step: dict[str, Any], load: float) -> OpenLoop:
    return OpenLoop(
        load,
        step["offered_per_second"],
        step["answered_per_second"],
        _seconds(step["latency_ms"]),
    )


def _seconds(milliseconds: dict[str, float] | None) -> dict[str, float] | None:
    if milliseconds is None:
        return None
    return {name: milliseconds[name] / 1000 for name in SHARES}
