"""How many replicas of the server a rate of requests needs, and what they cost.

A simulation, from what ``benchmarks/serving/run.py`` measured of one server on one machine:
replicas behind a load balancer, with the server's own queue and batches. It is first held against
that measurement. Prices are arguments; docs/scaling/serving.md says where the defaults are from.

python benchmarks/replicas/run.py
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any

from fleet.autoscaling import Setup
from fleet.balancing import POLICIES
from fleet.checking import Check, check
from fleet.costs import Prices
from fleet.fitting import fit
from fleet.measured import Measured, read_measured
from fleet.plot import draw_loads, draw_steps
from fleet.service import Times
from fleet.sizing import Promise, Run, Size, capacity, simulate, size
from fleet.step import Step, step_in_load
from fleet.table import (
    check_table,
    heroku_table,
    load_table,
    model_table,
    size_table,
    step_table,
)
from rich.console import Console

from doctor_derma.atomic import replacing_file
from doctor_derma.errors import DermaError

HERE = Path(__file__).resolve().parent
MEASURED = HERE.parent / "serving" / "results" / "serving.json"
LOADS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
SAY = Console(stderr=True, highlight=False)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add: Callable[..., Any] = parser.add_argument
    add("--measured", type=Path, default=MEASURED, help="results of the serving benchmark")
    add("--results", type=Path, default=HERE / "results", help="folder")
    add("--rates", default="10,1000,100000", help="requests a second, with commas between")
    add("--p99", type=float, default=250, help="milliseconds that 99 in 100 answers keep")
    add("--refused", type=float, default=0.001, help="share that may be answered with 503")
    add("--cell", type=float, default=1000, help="requests a second of one balancer, at most")
    add("--policy", choices=POLICIES, default="two choices", help="of the step and the cells")
    add("--requests", type=int, default=100_000, help="of each simulation")
    add("--speed", type=float, default=1.0, help="of the machines, against the measured one")
    add("--least", type=int, default=2, help="replicas that are paid, so that one may fail")
    prices = Prices()
    add("--node-hour", type=float, default=prices.node_hour, help="dollars of a node")
    add("--node-replicas", type=int, default=prices.node_replicas, help="that fit on a node")
    add("--cluster-hour", type=float, default=prices.cluster_hour, help="of the control plane")
    add("--dyno-month", type=float, default=prices.dyno_month, help="dollars of a dyno")
    add("--step", default="200,1000", help="requests a second before and after the step")
    add("--target", type=float, default=2, help="waiting pictures that autoscaling aims at")
    add("--cpu-target", type=float, default=0.6, help="the same for the processors' load")
    add("--schedule", type=float, default=10, help="seconds until a new replica's process starts")
    return parser.parse_args()


def prices_of(given: argparse.Namespace) -> Prices:
    return Prices(given.node_hour, given.node_replicas, given.cluster_hour, given.dyno_month)


def sizes_of(
    given: argparse.Namespace, times: Times, say: Callable[[str], None]
) -> tuple[list[Size], list[Size]]:
    """Return the sizes for all rates with each balancing, and in cells five times as large."""
    promise = Promise(given.p99 / 1000, given.refused)
    rates = [float(rate) for rate in given.rates.split(",")]
    found: dict[tuple[float, str], Size] = {}

    def find(rate: float, policy: str, cell: float) -> Size:
        say(f"{rate:,.0f} requests/s, {policy}")
        cells = ceil(rate / cell)
        # Cells of the same rate are the same simulation.
        key = rate / cells, policy
        if key not in found:
            found[key] = size(
                times, rate / cells, policy, promise, cell, given.requests, given.speed
            )
        return Size(rate, policy, cells, found[key].runs)

    everywhere = [find(rate, policy, given.cell) for rate in rates for policy in POLICIES]
    large = [find(max(rates), policy, 5 * given.cell) for policy in POLICIES]
    return everywhere, large


def sweeps_of(
    given: argparse.Namespace, times: Times, replicas: int, say: Callable[[str], None]
) -> dict[str, list[Run]]:
    """Return one cell at several loads with each balancing."""
    full = replicas * given.speed * capacity(times)
    sweeps: dict[str, list[Run]] = {}
    for policy in POLICIES:
        say(f"{replicas} replicas at several loads, {policy}")
        sweeps[policy] = [
            simulate(times, load * full, replicas, policy, given.requests // 2, given.speed)
            for load in LOADS
        ]
    return sweeps


def steps_of(given: argparse.Namespace, measured: Measured, times: Times) -> list[Step]:
    """Return how an autoscaler on the queue, and one on the processors, take a step in load."""
    before, after = (float(rate) for rate in given.step.split(","))
    start = given.schedule + measured.ready_seconds
    setups = [Setup("queue", given.target, start), Setup("cpu", given.cpu_target, start)]
    # Both begin with as many as the second one's target wants.
    replicas = max(given.least, ceil(before / (given.cpu_target * capacity(times))))
    return [step_in_load(times, before, after, replicas, given.policy, setup) for setup in setups]


def main() -> None:
    given = parse()
    try:
        measured = read_measured(given.measured)
        with SAY.status("fitting") as status:
            times = fit(measured)
            status.update("one replica against the measurement")
            checks = check(measured, times)
            sizes, large = sizes_of(given, times, status.update)
            cell = max(sizes, key=lambda each: each.kept.rate).kept
            sweeps = sweeps_of(given, times, cell.replicas, status.update)
            status.update("a step in load")
            steps = steps_of(given, measured, times)
    except DermaError as error:
        raise SystemExit(str(error)) from None
    promise = Promise(given.p99 / 1000, given.refused)
    write(given, measured, times, checks, sizes + large)
    draw_loads(sweeps, promise, given.results / "loads.png")
    draw_steps(steps, promise, given.results / "step.png")
    prices = prices_of(given)
    at_random = [each for each in sizes if each.policy == "random"]
    for title, table in (
        (f"Measured {measured.made} on {measured.processors} processors", model_table(times)),
        ("The simulation of one replica against the measurement", check_table(checks)),
        ("Replicas and costs on Kubernetes", size_table(sizes + large, prices, given.least)),
        ("Dynos and costs on Heroku", heroku_table(at_random, prices, given.least)),
        ("What a replica's queue says", load_table(sweeps[given.policy], given.policy)),
        (
            f"From {given.step.replace(',', ' to ')} requests/s",
            step_table(steps, promise.p99_seconds),
        ),
    ):
        print(f"{title}\n\n{table}\n")
    SAY.print(f"Written: {given.results}/replicas.json, loads.png, step.png")


def write(
    given: argparse.Namespace,
    measured: Measured,
    times: Times,
    checks: list[Check],
    sizes: list[Size],
) -> None:
    """Write the figures behind the tables as JSON."""
    results = {
        "measured": {
            "made": measured.made,
            "machine": measured.machine,
            "processors": measured.processors,
        },
        "arguments": {k: v for k, v in vars(given).items() if not isinstance(v, Path)},
        "model": asdict(times),
        "checks": [asdict(each) for each in checks],
        "sizes": [
            {
                "rate": each.rate,
                "policy": each.policy,
                "cells": each.cells,
                "replicas": each.replicas,
                "cell": asdict(each.kept),
            }
            for each in sizes
        ],
    }
    with replacing_file(given.results / "replicas.json") as beside:
        beside.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
