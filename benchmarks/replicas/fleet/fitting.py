"""The numbers of the model from what was measured of one server.

- One client's latency is the time of a picture alone.
- The time of a batch, of one picture and of each further one, is such that a simulated server gives
  as many answers a second to 32 clients, and to 8, as the measured one did.
- The latency at half the throughput, where requests come one after the other and overlap, is the
  time of a batch of one, its spread, and what an answer takes beside it.
- What a refusal takes of a processor is the throughput that was missing at ten times as many
  requests, divided by the refusals.

All else that was measured is left for ``checking``.
"""

from dataclasses import replace

from doctor_derma.server.settings import Settings
from fleet.balancing import at_random
from fleet.measured import Measured
from fleet.running import Fleet
from fleet.service import RandomService, Spread, Times

MAX_BATCH = Settings().max_batch
_ROUNDS = 4
_HALVINGS = 7
_FIT_SECONDS = 60.0


def fit(measured: Measured) -> Times:
    """Fit the model to one server."""
    half, refusal = Spread.of(measured.half_load), _refusal(measured)
    alone, first = Spread.of(measured.one_client), measured.processors / measured.capacity
    times = Times(measured.processors, alone, half, first, refusal=refusal)
    few, many = fitted_clients(measured)
    # A batch of one takes no more than its answer, and hardly less than half of a picture's share.
    low, high = first / 2, half.median
    for _ in range(_HALVINGS):
        single = (low + high) / 2
        times = replace(
            times, single=Spread(single, half.above), beside=max(0.0, half.median - single)
        )
        times = _with_throughput(times, many, measured.answered[many])
        if closed_loop(times, few, _FIT_SECONDS) > measured.answered[few]:
            low = single
        else:
            high = single
    return times


def fitted_clients(measured: Measured) -> tuple[int, int]:
    """Return the numbers of clients whose throughput the model is made from: few, and many."""
    several = sorted(count for count in measured.answered if count > measured.processors)
    return several[-2] if len(several) > 1 else several[-1], several[-1]


def closed_loop(times: Times, clients: int, seconds: float) -> float:
    """Return the answers a second of one simulated replica with so many clients."""
    fleet = Fleet(RandomService(times, seed=0), 1, at_random(0))
    return len(fleet.run_clients(clients, seconds).latency) / seconds


def _with_throughput(times: Times, clients: int, answered: float) -> Times:
    """Return the same with pictures that take as long as a throughput says."""
    for _ in range(_ROUNDS):
        # Most of the time is the pictures', so that their time is wrong as the throughput is.
        ratio = closed_loop(times, clients, _FIT_SECONDS) / answered
        times = replace(times, each=times.each * ratio)
    return times


def _refusal(measured: Measured) -> float:
    """Return the seconds of a processor that a refusal takes."""
    overload = measured.overload
    missing = max(0.0, 1 - overload.answered / measured.capacity) * measured.processors
    refused = overload.offered - overload.answered
    return missing / refused if refused > 0 else 0.0
