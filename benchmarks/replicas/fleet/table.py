"""The results as tables in Markdown."""

from collections.abc import Sequence
from math import ceil

from fleet.autoscaling import Setup
from fleet.checking import Check
from fleet.costs import Prices, heroku_month, kubernetes_month, nodes
from fleet.service import Spread, Times
from fleet.sizing import Run, Size, capacity
from fleet.step import Step


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; all but the first column are figures."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def model_table(times: Times) -> str:
    """Return the numbers of the model."""
    rows = [
        ["batches at a time", str(times.runs)],
        ["a picture alone, p50 and p99", _milliseconds(times.alone)],
        ["a batch of one, p50 and p99", _milliseconds(times.single)],
        ["each further picture of a batch", f"{1000 * times.each:.1f} ms"],
        ["an answer after its batch", f"{1000 * times.beside:.1f} ms"],
        ["a refusal, of one processor", f"{1000 * times.refusal:.2f} ms"],
        ["highest throughput, full batches", f"{capacity(times):.0f} pictures/s"],
    ]
    return markdown(["one replica", "value"], rows)


def check_table(checks: Sequence[Check]) -> str:
    """Return the simulation of one replica beside the measurement."""
    rows = [
        [
            check.what,
            check.unit,
            f"{check.measured:.1f}",
            f"{check.simulated:.1f}",
            f"{check.error:+.1%}" + (" (used)" if check.used else ""),
            f"{check.tolerance:.0%}",
            "yes" if check.within else "no",
        ]
        for check in checks
    ]
    headings = ["load", "figure", "measured", "simulated", "error", "tolerance", "within"]
    return markdown(headings, rows)


def size_table(sizes: Sequence[Size], prices: Prices, least: int) -> str:
    """Return replicas and costs; never fewer than ``least`` are paid."""
    rows = []
    for size in sizes:
        paid = max(size.replicas, least)
        rows.append(
            [
                f"{size.rate:,.0f}",
                size.policy,
                str(size.cells),
                f"{size.replicas:,}",
                f"{size.kept.load:.0%}",
                f"{1000 * size.kept.p50:.0f}",
                f"{1000 * size.kept.p99:.0f}",
                f"{size.kept.refused:.3%}",
                f"{nodes(paid, prices):,}",
                f"{kubernetes_month(paid, prices):,.0f}",
                f"{kubernetes_month(ceil(1.5 * paid), prices, zones=3):,.0f}",
            ]
        )
    headings = [
        *("requests/s", "balancing", "cells", "replicas", "load", "p50, ms", "p99, ms"),
        *("refused", "nodes", "$ a month", "$, one zone of three spare"),
    ]
    return markdown(headings, rows)


def heroku_table(sizes: Sequence[Size], prices: Prices, least: int) -> str:
    """Return dynos and costs on Heroku, whose router chooses at random."""
    rows = []
    for size in sizes:
        dynos = max(size.replicas, least)
        cost = heroku_month(dynos, prices)
        rows.append([f"{size.rate:,.0f}", f"{size.replicas:,}", f"{dynos:,}", f"{cost:,.0f}"])
    return markdown(["requests/s", "dynos needed", "dynos paid", "$ a month"], rows)


def load_table(runs: Sequence[Run], policy: str) -> str:
    """Return what a replica's queue and latency are at several loads."""
    rows = [
        [
            f"{run.load:.0%}",
            f"{run.rate / run.replicas:.0f}",
            f"{run.waiting:.1f}",
            f"{1000 * run.p50:.0f}",
            f"{1000 * run.p99:.0f}",
            f"{run.refused:.3%}",
        ]
        for run in runs
    ]
    headings = [
        f"load ({policy})",
        "requests/s each",
        "waiting pictures each",
        "p50, ms",
        "p99, ms",
        "refused",
    ]
    return markdown(headings, rows)


def step_table(steps: Sequence[Step], p99_seconds: float) -> str:
    """Return how each autoscaler took a step in load."""
    rows = []
    for step in steps:
        recovered = step.recovered_seconds(p99_seconds)
        rows.append(
            [
                target_of(step.setup),
                f"{step.ready[0]:.0f}",
                f"{step.ready[-1]:.0f}",
                f"{step.refused_in_all:,}",
                f"{step.refused_share:.1%}",
                "not in time" if recovered is None else f"{recovered} s",
            ]
        )
    headings = [
        "target",
        "replicas before",
        "after",
        "refused",
        "of the requests since",
        "well again after",
    ]
    return markdown(headings, rows)


def target_of(setup: Setup) -> str:
    """Return an autoscaler's target in words."""
    if setup.measure == "queue":
        return f"{setup.target:g} waiting pictures each"
    return f"{setup.target:.0%} of the processors"


def _milliseconds(spread: Spread) -> str:
    return f"{1000 * spread.median:.1f} and {1000 * spread.at(0.99):.1f} ms"
