"""The results as tables, for the screen and for Markdown."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from serving_bench.goals import LEAST_SOAK, goals
from serving_bench.open_loop import REFUSED

_NONE: dict[str, list[dict[str, Any]]] = {"closed_loop": [], "open_loop": []}
_VERDICTS = {True: "yes", False: "no", None: "not judged"}


class Block(NamedTuple):
    """One table."""

    title: str
    headings: list[str]
    rows: list[list[str]]


def blocks(results: dict[str, Any]) -> list[Block]:
    """Return all tables."""
    measured = {
        name: found for name, found in results["servers"].items() if "not_measured" not in found
    }
    found = [_throughput(results, measured), _latency(results, measured)]
    found += [_overload(measured), _memory(measured)] if measured else []
    if judged := goals(results):
        rows = [[goal.what, goal.goal, goal.measured, _VERDICTS[goal.reached]] for goal in judged]
        found.append(Block("Goals", ["what", "goal", "measured", "reached"], rows))
    left_out = [
        [name, server["not_measured"]]
        for name, server in results["servers"].items()
        if "not_measured" in server
    ]
    if left_out:
        found.append(Block("Not measured", ["server", "why"], left_out))
    return found


def markdown(block: Block) -> str:
    """Return a table in Markdown."""
    lines = [block.headings, ["---"] * len(block.headings), *block.rows]
    return f"{block.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(block: Block, console: Console) -> None:
    """Print a table."""
    table = Table(title=block.title, title_justify="left")
    for index, heading in enumerate(block.headings):
        table.add_column(heading, justify="left" if index == 0 else "right")
    for row in block.rows:
        table.add_row(*row)
    console.print(table)


def _throughput(results: dict[str, Any], measured: Mapping[str, Any]) -> Block:
    ceiling = results.get("ceiling")
    counts = [step["clients"] for step in next(iter(measured.values()), _NONE)["closed_loop"]]
    headings = ["server", *(f"{count} client{'s' * (count > 1)}" for count in counts)]
    rows, title = [], "Answers a second, closed loop"
    if ceiling and counts:
        best = ceiling["best"]
        title += f"; the ceiling was reached with {_way(best)}"
        for name, way in (("ceiling", best), ("ceiling, batch 1", ceiling["best_at_batch_1"])):
            speed = way["per_second"]
            blank = ["-"] * (len(counts) - 1)
            rows.append([name, *blank, f"{speed:.1f}", f"{speed / best['per_second']:.3f}", "-"])
    for found in measured.values():
        speeds = [step["answered_per_second"] for step in found["closed_loop"]]
        share = f"{speeds[-1] / ceiling['best']['per_second']:.3f}" if ceiling else "-"
        failed = sum(step["not_200"] + step["broken"] for step in found["closed_loop"])
        rows.append([found["title"], *(f"{speed:.1f}" for speed in speeds), share, str(failed)])
    if (int8 := results.get("int8")) and counts:
        blank = ["-"] * (len(counts) - 1)
        failed = str(int8["not_200"] + int8["broken"])
        speed = f"{int8['answered_per_second']:.1f}"
        rows.append([f"Doctor Derma, {int8['bundle']}", *blank, speed, "-", failed])
    return Block(title, [*headings, "of the ceiling", "failed"], rows)


def _way(way: dict[str, Any]) -> str:
    return (
        f"{way['layout']}, {way['threads_around']} threads around the network and "
        f"{way['threads_inside']} inside, batches of {way['batch']}"
    )


def _latency(results: dict[str, Any], measured: Mapping[str, Any]) -> Block:
    headings = ["server", "1 client p50", "p99"]
    rows = []
    if ceiling := results.get("ceiling"):
        for name, single in ceiling["one_at_a_time"].items():
            rows.append([f"no HTTP, threads {name}", *_pair(single["latency_ms"])])
    for found in measured.values():
        cells = [found["title"], *_pair(found["one_client"]["latency_ms"])]
        for step in found["open_loop"]:
            cells += _pair(step["latency_ms"])
        rows.append(cells)
    for step in next(iter(measured.values()), _NONE)["open_loop"]:
        headings += [f"at {step['load']:.0%} p50", "p99"]
    padded = [row + ["-"] * (len(headings) - len(row)) for row in rows]
    return Block(
        "Latency in ms; of one client, and at a share of the highest throughput (open loop)",
        headings,
        padded,
    )


def _pair(latency: dict[str, float] | None) -> list[str]:
    return (
        ["none", "none"] if latency is None else [f"{latency[name]:.1f}" for name in ("p50", "p99")]
    )


def _overload(measured: Mapping[str, Any]) -> Block:
    rows = []
    for found in measured.values():
        overload = found["overload"]
        outcomes = overload["outcomes"]
        total = sum(outcomes.values()) or 1
        refused = outcomes.get(REFUSED, 0)
        answered = outcomes.get("200", 0)
        rows.append(
            [
                found["title"],
                f"{overload['offered_per_second']:.0f}",
                f"{overload['answered_per_second']:.1f}",
                f"{overload['of_peak']:.3f}",
                f"{refused / total:.1%}",
                f"{(total - refused - answered) / total:.1%}",
                _pair(overload["latency_ms"])[1],
                f"{overload['memory_before']['rss']:.0f}",
                f"{overload['memory_peak']['rss']:.0f}",
                f"{overload['memory_after']['rss']:.0f}",
            ]
        )
    headings = ["server", "sent/s", "in time/s", "of peak", "refused", "failed", "p99, ms"]
    title = (
        "Overload: requests sent and answered in time a second; refused with Retry-After; "
        "failed otherwise"
    )
    return Block(title, [*headings, "RSS before, MB", "highest", "after"], rows)


def _memory(measured: Mapping[str, Any]) -> Block:
    rows = []
    for found in measured.values():
        soak = found["soak"]
        # Of fewer requests, growth is that of caches and pools.
        growth = soak["rss_growth_per_100000"] if soak["requests"] >= LEAST_SOAK else None
        rows.append(
            [
                found["title"],
                f"{found['ready_seconds']:.2f}",
                f"{found['memory_ready']['rss']:.0f}",
                f"{found['memory_ready']['pss']:.0f}",
                f"{soak['requests']:,}",
                f"{soak['memory_after']['rss']:.0f}",
                f"{soak['memory_after']['pss']:.0f}",
                "-" if growth is None else f"{growth:+.1f}",
            ]
        )
    headings = ["server", "ready, s", "RSS, MB", "PSS", "requests", "RSS, MB", "PSS"]
    title = (
        "Start and memory of all processes (RSS counts shared pages once a process, PSS once), "
        "growth in 100,000 requests"
    )
    return Block(title, [*headings, "growth, MB"], rows)
