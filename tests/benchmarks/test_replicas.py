"""The simulation of replicas: queueing theory, what was measured, the sizes and the table."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import replicas
from doctor_derma.errors import DermaError
from doctor_derma.server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
Fleet, Service, Times, poisson = (
    replicas.Fleet,
    replicas.Service,
    replicas.Times,
    replicas.poisson,
)
at_random, capacity, size = replicas.at_random, replicas.capacity, replicas.size


def spread(median: float) -> dict[str, float]:
    over = {"p50": 0.0, "p90": 0.001, "p99": 0.003, "p999": 0.010, "max": 0.02}
    return {name: median + more for name, more in over.items()}


TIMES = Times(2, spread(0.010), spread(0.016), each=0.012, beside=0.002, refusal=0.0005)
ENDLESS = 10**9


def constant(rate: float, seconds: float) -> list[float]:
    """Return arrivals at even distances, as the serving benchmark's open loop sends them."""
    return (np.arange(int(rate * seconds)) / rate).tolist()


class Always:
    """A service that takes the same time, or an exponential one, for whatever it is given."""

    def __init__(self, seconds: float, runs: int = 1, seed: int | None = None) -> None:
        self.runs, self.beside, self.refusal = runs, 0.0, 0.0
        draws = np.full(8, seconds)
        if seed is not None:
            draws = np.random.default_rng(seed).exponential(seconds, 1 << 16)
        self._next = itertools.cycle(draws.tolist()).__next__

    def batch(self, pictures: int) -> float:
        return self._next()

    def alone(self) -> float:
        return self._next()


def one_by_one(service: Any, queue_limit: int = ENDLESS) -> Fleet:
    return Fleet(service, 1, at_random(0), queue_limit=queue_limit, max_batch=1)


def test_a_constant_service_waits_as_in_m_d_1() -> None:
    load, seconds = 0.8, 0.01
    outcome = one_by_one(Always(seconds)).run(poisson(load / seconds, 2500, seed=1)).since(100)
    # Pollaczek and Khinchine.
    expected = seconds * (1 + load / (2 * (1 - load)))
    assert outcome.latency.mean() == pytest.approx(expected, rel=0.05)


def test_two_exponential_services_wait_as_in_m_m_2() -> None:
    servers, load, seconds = 2, 0.8, 0.02
    service = Always(seconds, servers, seed=2)
    outcome = one_by_one(service).run(poisson(servers * load / seconds, 2500, seed=3)).since(100)
    offered = servers * load
    busy = offered**servers / math.factorial(servers) / (1 - load)
    free = sum(offered**n / math.factorial(n) for n in range(servers))
    waits = busy / (free + busy)  # Erlang's C
    expected = seconds + waits * seconds / (servers * (1 - load))
    assert outcome.latency.mean() == pytest.approx(expected, rel=0.05)


def test_a_bounded_queue_refuses_as_in_m_m_1_k() -> None:
    load, bound = 0.9, 5
    service = Always(0.01, seed=4)
    outcome = one_by_one(service, bound).run(poisson(load / 0.01, 2000, seed=5))
    expected = (1 - load) * load**bound / (1 - load ** (bound + 1))
    assert outcome.refused_share == pytest.approx(expected, rel=0.05)


def test_nothing_is_lost_and_the_bound_is_the_server_s() -> None:
    arrivals = poisson(2000, 3, seed=6)
    fleet = Fleet(Service(TIMES, 0), 2, at_random(0))
    outcome = fleet.run(arrivals)
    assert len(outcome.latency) + len(outcome.refused) == len(arrivals)
    assert len(outcome.refused)
    assert all(replica.waiting == 0 and not replica.queue for replica in fleet.replicas)
    # Under the bound nobody waits longer than all before him and the batches that run take.
    batches = Settings().queue_limit / replicas.MAX_BATCH / TIMES.runs + 2
    longest = TIMES.single["max"] + replicas.MAX_BATCH * TIMES.each
    assert outcome.latency.max() < batches * (longest + 600 * TIMES.refusal)


def test_a_picture_alone_has_the_machine_and_two_have_a_processor_each() -> None:
    alone_seconds, batch_seconds = (dict.fromkeys(TIMES.alone, value) for value in (0.010, 0.016))
    exact = Times(2, alone_seconds, batch_seconds, each=0.012, beside=0.002)
    alone = Fleet(Service(exact, 0), 1, at_random(0)).run([0.0])
    assert alone.latency.tolist() == pytest.approx([0.010])
    # The first comes alone, the second gets the other processor, two more wait for one of them.
    four = Fleet(Service(exact, 0), 1, at_random(0)).run([0.0, 0.001, 0.002, 0.003])
    assert sorted(four.latency) == pytest.approx([0.010, 0.018, 0.037, 0.038])


def test_throughput_is_that_of_full_batches_less_what_refusals_take() -> None:
    free = replace(TIMES, refusal=0.0)
    speeds = []
    for times in (free, TIMES):
        outcome = Fleet(Service(times, 0), 1, at_random(0)).run(constant(1000, 30)).since(5)
        speeds.append(len(outcome.latency) / 25)
    assert speeds[0] == pytest.approx(capacity(TIMES), rel=0.02)
    refused = 1000 - speeds[1]
    missing = refused * TIMES.refusal / TIMES.runs * capacity(TIMES)
    assert speeds[0] - speeds[1] == pytest.approx(missing, rel=0.1)


def test_balancers_that_look_wait_less() -> None:
    p99 = {
        name: replicas.simulate(TIMES, 0.85 * 6 * capacity(TIMES), 6, name, 40_000).p99
        for name in replicas.POLICIES
    }
    assert p99["least connections"] < p99["two choices"] < p99["random"]
    assert p99["round robin"] < p99["random"]


def test_choices() -> None:
    class Queue:
        def __init__(self, waiting: int) -> None:
            self.waiting = waiting

    queues = [Queue(3), Queue(1), Queue(2)]
    assert {replicas.least_waiting(seed)(queues) for seed in range(9)} == {1}
    turn = replicas.in_turn(0)
    assert [turn(queues) for _ in range(4)] == [1, 2, 0, 1]
    draw = at_random(0)
    assert {draw(queues) for _ in range(50)} == {0, 1, 2}


def test_the_fewest_replicas_that_keep_the_promise() -> None:
    found = size(TIMES, 300, "two choices", requests=20_000)
    assert found.cells == 1
    assert found.p99 <= 0.25
    assert found.refused < 0.001
    fewer = replicas.simulate(TIMES, 300, found.replicas - 1, "two choices", 20_000)
    assert fewer.p99 > 0.25 or fewer.refused >= 0.001 or fewer.load > 1


def test_cells_share_what_comes() -> None:
    whole = size(TIMES, 200, "random", cell=200, requests=20_000)
    shared = size(TIMES, 1000, "random", cell=200, requests=20_000)
    assert (shared.cells, shared.replicas) == (5, 5 * whole.replicas)
    assert (shared.load, shared.p99) == (whole.load, whole.p99)


def test_a_promise_that_no_number_keeps_is_refused() -> None:
    with pytest.raises(DermaError, match="an idle replica's own is 13 ms"):
        size(TIMES, 10, "random", p99=0.005, requests=1000)


def test_costs() -> None:
    prices = replicas.Prices(node_hour=0.5, node_replicas=4, cluster_hour=0.1)
    assert [prices.nodes(count) for count in (1, 4, 5)] == [1, 1, 2]
    assert prices.month(5) == pytest.approx(730 * (2 * 0.5 + 0.1))
    assert prices.month(5, zones=3) == pytest.approx(730 * (3 * 0.5 + 0.1))


def test_the_simulation_agrees_with_the_measured_server() -> None:
    """Within the tenth in throughput and the third in latency that the docs state."""
    measured = replicas.read_measured(replicas.MEASURED)
    times = replicas.fit(measured)
    for clients, answered in measured.answered.items():
        assert replicas.closed_loop(times, clients, 60) == pytest.approx(answered, rel=0.1)
    ours = json.loads(replicas.MEASURED.read_text())["servers"]["ours"]
    for step in (*ours["open_loop"], ours["overload"]):
        arrivals = constant(step["offered_per_second"], 60)
        outcome = Fleet(Service(times, 1), 1, at_random(1)).run(arrivals)
        answered = len(outcome.latency) / 60
        assert answered == pytest.approx(step["answered_per_second"], rel=0.1)
        for name, percent in (("p50", 50), ("p99", 99)):
            milliseconds = 1000 * outcome.percentile(percent)
            assert milliseconds == pytest.approx(step["latency_ms"][name], rel=0.35)


def latency(alone: dict[str, float]) -> dict[str, float]:
    return {name: 1000 * seconds for name, seconds in alone.items()}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What the serving benchmark would have measured of ``TIMES``, made by the model itself."""
    answered = {clients: replicas.closed_loop(TIMES, clients, 40) for clients in (1, 8, 32)}
    top = max(answered.values())

    def at(rate: float) -> dict[str, Any]:
        outcome = Fleet(Service(TIMES, 7), 1, at_random(7)).run(constant(rate, 40))
        shares = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9, "max": 100}
        shown = {name: 1000 * outcome.percentile(share) for name, share in shares.items()}
        return {"offered_per_second": rate, "answered_per_second": len(outcome.latency) / 40,
                "latency_ms": shown}  # fmt: skip

    return {
        "machine": {"processors": 2},
        "servers": {"ours": {
            "closed_loop": [{"clients": clients, "answered_per_second": speed}
                            for clients, speed in answered.items()],
            "one_client": {"latency_ms": latency(TIMES.alone)},
            "open_loop": [{"load": 0.5, **at(0.5 * top)}, {"load": 0.8, **at(0.8 * top)}],
            "overload": at(10 * top),
        }},
    }  # fmt: skip


@pytest.fixture(scope="module")
def measured_file(results: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measured") / "serving.json"
    path.write_text(json.dumps(results))
    return path


def test_the_fit_finds_the_numbers_that_the_measurement_was_made_from(measured_file: Path) -> None:
    times = replicas.fit(replicas.read_measured(measured_file))
    assert times.runs == 2
    assert times.each == pytest.approx(TIMES.each, rel=0.05)
    assert times.single["p50"] == pytest.approx(TIMES.single["p50"], rel=0.1)
    assert times.alone == pytest.approx(TIMES.alone)
    assert times.refusal == pytest.approx(TIMES.refusal, rel=0.2)
    assert capacity(times) == pytest.approx(capacity(TIMES), rel=0.03)


def test_what_was_not_measured_is_done_without(results: dict[str, Any], tmp_path: Path) -> None:
    ours = results["servers"]["ours"]
    few = {**ours, "closed_loop": ours["closed_loop"][-1:],
           "open_loop": [{**step, "latency_ms": None} for step in ours["open_loop"]]}  # fmt: skip
    path = tmp_path / "serving.json"
    path.write_text(json.dumps({**results, "servers": {"ours": few}}))
    fitted = replicas.fit(replicas.read_measured(path))
    assert capacity(fitted) == pytest.approx(capacity(TIMES), rel=0.1)


@pytest.mark.parametrize("text", ["{", "{}", '{"machine": {}, "servers": {"flask": {}}}'])
def test_a_file_without_our_server_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "serving.json"
    with pytest.raises(DermaError, match=r"serving\.json: can't be read .*; make it again with"):
        replicas.read_measured(path)
    path.write_text(text)
    with pytest.raises(DermaError, match=r"serving\.json: lacks .*; make it again with"):
        replicas.read_measured(path)


def test_the_command_prints_the_table_of_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    replicas.main(rates="10")
    printed = capsys.readouterr().out.splitlines()
    guide = (ROOT / "docs" / "scaling" / "serving.md").read_text().splitlines()
    assert len(printed) == 2 + 4
    assert [line for line in printed if line not in guide] == []
