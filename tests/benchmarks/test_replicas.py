"""The simulation of replicas: queueing theory, its own inputs, the autoscaler and the tables."""

import importlib.util
import itertools
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
REPLICAS = ROOT / "benchmarks" / "replicas"
sys.path.insert(0, str(REPLICAS))

from fleet.autoscaling import SYNC_SECONDS, Autoscaler, Setup  # noqa: E402
from fleet.balancing import POLICIES, at_random, in_turn, least_waiting  # noqa: E402
from fleet.checking import check  # noqa: E402
from fleet.costs import Prices, heroku_month, kubernetes_month, nodes  # noqa: E402
from fleet.fitting import closed_loop, fit  # noqa: E402
from fleet.measured import read_measured  # noqa: E402
from fleet.running import Fleet, constant, poisson  # noqa: E402
from fleet.service import RandomService, Spread, Times  # noqa: E402
from fleet.sizing import Promise, capacity, simulate, size  # noqa: E402
from fleet.step import BEFORE_SECONDS, step_in_load  # noqa: E402

from doctor_derma.errors import DermaError  # noqa: E402
from doctor_derma.server.settings import Settings  # noqa: E402

ABOVE = {0.5: 0.0, 0.9: 0.001, 0.99: 0.003, 0.999: 0.010, 1.0: 0.02}
TIMES = Times(
    runs=2,
    alone=Spread(0.010, ABOVE),
    single=Spread(0.016, ABOVE),
    each=0.012,
    beside=0.002,
    refusal=0.0005,
)
ENDLESS = 10**9


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
    fleet = Fleet(RandomService(TIMES, 0), 2, at_random(0))
    outcome = fleet.run(arrivals)
    assert len(outcome.latency) + len(outcome.refused) == len(arrivals)
    assert len(outcome.refused)
    assert all(replica.waiting == 0 and not replica.queue for replica in fleet.replicas)
    # Under the bound nobody waits longer than all before him and the batches that run take.
    settings = Settings()
    batches = settings.queue_limit / settings.max_batch / TIMES.runs + 2
    longest = TIMES.single.at(1.0) + settings.max_batch * TIMES.each
    assert outcome.latency.max() < batches * (longest + 600 * TIMES.refusal)


def test_a_picture_alone_has_the_machine_and_two_have_a_processor_each() -> None:
    never = dict.fromkeys(ABOVE, 0.0)
    exact = Times(2, Spread(0.010, never), Spread(0.016, never), each=0.012, beside=0.002)
    alone = Fleet(RandomService(exact, 0), 1, at_random(0)).run([0.0])
    assert alone.latency.tolist() == pytest.approx([0.010])
    # The first comes alone, the second gets the other processor, two more wait for one of them.
    four = Fleet(RandomService(exact, 0), 1, at_random(0)).run([0.0, 0.001, 0.002, 0.003])
    assert sorted(four.latency) == pytest.approx([0.010, 0.018, 0.037, 0.038])


def test_throughput_is_that_of_full_batches_less_what_refusals_take() -> None:
    free = replace(TIMES, refusal=0.0)
    speeds = []
    for times in (free, TIMES):
        outcome = Fleet(RandomService(times, 0), 1, at_random(0)).run(constant(1000, 30)).since(5)
        speeds.append(len(outcome.latency) / 25)
    assert speeds[0] == pytest.approx(capacity(TIMES), rel=0.02)
    refused = 1000 - speeds[1]
    missing = refused * TIMES.refusal / TIMES.runs * capacity(TIMES)
    assert speeds[0] - speeds[1] == pytest.approx(missing, rel=0.1)


def test_balancers_that_look_wait_less() -> None:
    p99 = {
        name: simulate(TIMES, 0.85 * 6 * capacity(TIMES), 6, name, 40_000).p99 for name in POLICIES
    }
    assert p99["least connections"] < p99["two choices"] < p99["random"]
    assert p99["round robin"] < p99["random"]


def test_choices() -> None:
    class Queue:
        def __init__(self, waiting: int) -> None:
            self.waiting = waiting

    queues = [Queue(3), Queue(1), Queue(2)]
    assert {least_waiting(seed)(queues) for seed in range(9)} == {1}
    turn = in_turn(0)
    assert [turn(queues) for _ in range(4)] == [1, 2, 0, 1]
    draw = at_random(0)
    assert {draw(queues) for _ in range(50)} == {0, 1, 2}


def test_the_fewest_replicas_that_keep_the_promise() -> None:
    found = size(TIMES, 300, "two choices", Promise(0.25, 0.001), 1000, 20_000)
    assert found.cells == 1
    assert found.kept.keeps(Promise(0.25, 0.001))
    assert not any(run.keeps(Promise(0.25, 0.001)) for run in found.runs[:-1])
    assert found.replicas >= 300 / capacity(TIMES)


def test_cells_share_what_comes() -> None:
    whole = size(TIMES, 200, "random", Promise(), 200, 20_000)
    shared = size(TIMES, 1000, "random", Promise(), 200, 20_000)
    assert (shared.cells, shared.replicas) == (5, 5 * whole.replicas)


def test_a_promise_that_no_number_keeps_is_refused() -> None:
    with pytest.raises(DermaError, match="an idle replica's own is 13 ms"):
        size(TIMES, 10, "random", Promise(0.005), 1000, 1000)


def test_costs() -> None:
    prices = Prices(node_hour=0.5, node_replicas=4, cluster_hour=0.1, dyno_month=25)
    assert [nodes(count, prices) for count in (1, 4, 5)] == [1, 1, 2]
    assert kubernetes_month(5, prices) == pytest.approx(730 * (2 * 0.5 + 0.1))
    assert kubernetes_month(5, prices, zones=3) == pytest.approx(730 * (3 * 0.5 + 0.1))
    assert heroku_month(3, prices) == 75


def latency(p50: float, p99: float) -> dict[str, float]:
    return {"p50": p50, "p90": (p50 + p99) / 2, "p99": p99, "p999": 1.5 * p99, "max": 2 * p99}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What the serving benchmark would have measured of ``TIMES``, made by the model itself."""
    answered = {clients: closed_loop(TIMES, clients, 40) for clients in (1, 8, 32)}
    top = max(answered.values())

    def at(rate: float) -> dict[str, Any]:
        fleet = Fleet(RandomService(TIMES, 7), 1, at_random(7))
        outcome = fleet.run(constant(rate, 40))
        shown = latency(1000 * outcome.percentile(50), 1000 * outcome.percentile(99))
        return {"offered_per_second": rate, "answered_per_second": len(outcome.latency) / 40,
                "latency_ms": shown}  # fmt: skip

    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {
        "made": "2026-11-25T22:00:00+00:00",
        "machine": {"processor": "A processor", "processors": 2},
        "servers": {"ours": {
            "closed_loop": [{"clients": clients, "answered_per_second": speed}
                            for clients, speed in answered.items()],
            "capacity_per_second": top,
            "one_client": {"latency_ms": {name: 1000 * TIMES.alone.at(share)
                                          for name, share in shares.items()}},
            "open_loop": [{"load": 0.5, **at(0.5 * top)}, {"load": 0.8, **at(0.8 * top)}],
            "overload": at(10 * top),
            "ready_seconds": 1.5,
        }},
    }  # fmt: skip


@pytest.fixture(scope="module")
def measured_file(results: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("measured") / "serving.json"
    path.write_text(json.dumps(results))
    return path


def test_the_fit_finds_the_numbers_that_the_measurement_was_made_from(measured_file: Path) -> None:
    times = fit(read_measured(measured_file))
    assert times.runs == 2
    assert times.each == pytest.approx(TIMES.each, rel=0.05)
    assert times.single.median == pytest.approx(TIMES.single.median, rel=0.1)
    assert times.alone.median == pytest.approx(TIMES.alone.median)
    assert times.alone.above == pytest.approx(TIMES.alone.above)
    assert times.refusal == pytest.approx(TIMES.refusal, rel=0.2)
    assert capacity(times) == pytest.approx(capacity(TIMES), rel=0.03)


def test_one_replica_does_what_was_measured(measured_file: Path) -> None:
    measured = read_measured(measured_file)
    checks = check(measured, fit(measured))
    assert len(checks) == 3 + 2 + 3 * 3
    assert [each for each in checks if not each.within] == []
    assert all(abs(each.error) < 0.05 for each in checks if each.unit == "answers/s")


def test_a_model_that_is_wrong_is_noticed(measured_file: Path) -> None:
    measured = read_measured(measured_file)
    times = fit(measured)
    checks = check(measured, replace(times, each=1.5 * times.each))
    assert not all(each.within for each in checks)


def test_what_was_not_measured_is_done_without(results: dict[str, Any], tmp_path: Path) -> None:
    ours = results["servers"]["ours"]
    few = {**ours, "closed_loop": ours["closed_loop"][-1:],
           "open_loop": [{**step, "latency_ms": None} for step in ours["open_loop"]]}  # fmt: skip
    path = tmp_path / "serving.json"
    path.write_text(json.dumps({**results, "servers": {"ours": few}}))
    assert capacity(fit(read_measured(path))) == pytest.approx(capacity(TIMES), rel=0.1)


@pytest.mark.parametrize("text", ["{", "{}", '{"machine": {}, "servers": {"flask": {}}}'])
def test_a_file_without_our_server_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "serving.json"
    with pytest.raises(DermaError, match=r"serving\.json: not there; make it with"):
        read_measured(path)
    path.write_text(text)
    with pytest.raises(DermaError, match=r"serving\.json: "):
        read_measured(path)


def test_the_autoscaler_adds_what_is_missing_and_no_more_than_it_may() -> None:
    fleet = Fleet(RandomService(TIMES, 0), 2, at_random(0))
    scaler = Autoscaler(Setup("queue", 4, start_seconds=20), fleet, runs=2)
    for replica in fleet.replicas:
        replica.waiting = 64
    for second in range(41):
        scaler.tick(float(second))
    ready = {second: (there, wanted) for second, there, wanted in scaler.history}
    # At once 4 more than 2 (doubling would be fewer), 15 s later twice as many, and so on.
    assert ready[0] == (2, 6)
    assert ready[SYNC_SECONDS] == (2, 12)
    assert ready[20] == (6, 12)
    assert ready[30] == (6, 24)
    assert ready[40][0] == 12
    # 2 x 64 waiting at 4 each are 32 replicas.
    scaler.tick(45.0)
    assert scaler.history[-1][2] == 32


def test_within_a_tenth_of_the_target_nothing_happens() -> None:
    fleet = Fleet(RandomService(TIMES, 0), 10, at_random(0))
    scaler = Autoscaler(Setup("queue", 10, start_seconds=20), fleet, runs=2)
    for replica in fleet.replicas:
        replica.waiting = 11
    scaler.tick(0.0)
    assert scaler.history[-1][2] == 10
    fleet.replicas[0].waiting = 12
    scaler.tick(15.0)
    assert scaler.history[-1][2] == 12


def test_a_step_in_load_is_refused_until_replicas_come() -> None:
    setup = Setup("queue", 4, start_seconds=12)
    step = step_in_load(TIMES, 60, 400, 2, "two choices", setup)
    assert step.refused[:BEFORE_SECONDS].sum() == 0
    assert step.refused[BEFORE_SECONDS : BEFORE_SECONDS + 15].sum() > 0
    assert step.refused[-60:].sum() == 0
    assert step.ready[-1] * capacity(TIMES) > 400
    recovered = step.recovered_seconds(0.25)
    assert recovered is not None
    assert 15 < recovered < 200
    assert step.refused_share < 0.5


def test_the_simulated_autoscaler_is_the_manifest_s() -> None:
    serving = ROOT / "deployment" / "scale" / "serving"
    autoscaler = yaml.safe_load((serving / "autoscaler.yaml").read_text())["spec"]
    prometheus = serving / "prometheus"
    adapter = yaml.safe_load((prometheus / "adapter-values.yaml").read_text())
    scrape = yaml.safe_load((prometheus / "scrape.yaml").read_text())
    setup = Setup("queue", 2, start_seconds=12)
    assert autoscaler["metrics"][0]["pods"]["target"]["averageValue"] == f"{setup.target:g}"
    policies = {p["type"]: p["value"] for p in autoscaler["behavior"]["scaleUp"]["policies"]}
    assert policies == {"Percent": 100, "Pods": 4}
    assert autoscaler["maxReplicas"] == setup.most
    assert scrape["server"]["global"]["scrape_interval"] == f"{setup.scrape_seconds}s"
    # The last look counts, not an average over some.
    assert "over_time" not in adapter["rules"]["custom"][0]["metricsQuery"]


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    spec = importlib.util.spec_from_file_location("replicas_run", REPLICAS / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
    module.main()


def test_the_command_writes_tables_and_pictures(
    measured_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_command(
        monkeypatch,
        *("--measured", measured_file, "--results", tmp_path, "--requests", 3000),
        *("--rates", "10,500", "--cell", 250, "--step", "20,80", "--p99", 300),
    )
    printed = capsys.readouterr().out
    assert "| 10 | random | 1 | 1 |" in printed
    assert "| 500 | two choices | 2 |" in printed
    for name in ("loads.png", "step.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "replicas.json").read_text())
    assert {each["rate"] for each in found["sizes"]} == {10, 500}
    assert str(tmp_path) not in json.dumps(found)


def test_the_command_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"none\.json: not there; make it with"):
        run_command(monkeypatch, "--measured", tmp_path / "none.json")
