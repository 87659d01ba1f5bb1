"""One picture: throughput, latency, memory."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from doctor_derma.atomic import replacing_file
from serving_bench.goals import MEMORY_MB

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00")


def draw(results: dict[str, Any], path: Path) -> None:
    """Write a PNG."""
    servers = [found for found in results["servers"].values() if "not_measured" not in found]
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(13, 4.2), layout="constrained")
        axes = figure.subplots(1, 3)
        _throughput(axes[0], servers, results.get("ceiling"))
        _latency(axes[1], servers, results.get("ceiling"))
        _memory(axes[2], servers)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        with replacing_file(path) as scratch:
            figure.savefig(scratch, dpi=130)


def _throughput(axes: Axes, servers: list[dict[str, Any]], ceiling: dict[str, Any] | None) -> None:
    width = 0.8 / max(1, len(servers))
    for index, (server, colour) in enumerate(zip(servers, COLOURS, strict=False)):
        steps = server["closed_loop"]
        places = [place + (index - (len(servers) - 1) / 2) * width for place in range(len(steps))]
        speeds = [step["answered_per_second"] for step in steps]
        axes.bar(places, speeds, width, color=colour, label=server["title"])
        axes.set_xticks(range(len(steps)), [str(step["clients"]) for step in steps])
    if ceiling:
        best = ceiling["best"]["per_second"]
        axes.axhline(best, color="black", linestyle="--", linewidth=1, label="ceiling: no HTTP")
    axes.set(xlabel="clients", ylabel="answers per second", title="Throughput (higher is better)")


def _latency(axes: Axes, servers: list[dict[str, Any]], ceiling: dict[str, Any] | None) -> None:
    labels: list[str] = []
    for index, (server, colour) in enumerate(zip(servers, COLOURS, strict=False)):
        steps = [server["one_client"], *server["open_loop"]]
        labels = ["one client", *(f"{step['load']:.0%} load" for step in server["open_loop"])]
        for place, step in enumerate(steps):
            if step["latency_ms"] is None:
                continue
            across = place + (index - (len(servers) - 1) / 2) * 0.8 / len(servers)
            low, high = step["latency_ms"]["p50"], step["latency_ms"]["p99"]
            axes.plot([across, across], [low, high], color=colour, linewidth=2)
            axes.plot(across, low, "o", color=colour, markersize=5)
            axes.plot(across, high, "_", color=colour, markersize=11, markeredgewidth=2)
    if ceiling:
        bare = ceiling["one_at_a_time"]["sleeping"]["latency_ms"]["p99"]
        axes.hlines(bare, -0.45, 0.45, color="black", linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(len(labels)), labels)
    axes.set(
        ylabel="milliseconds", title="Latency: p50 (dot) to p99 (bar); dashed: p99 without HTTP"
    )


def _memory(axes: Axes, servers: list[dict[str, Any]]) -> None:
    for server, colour in zip(servers, COLOURS, strict=False):
        curve = server["soak"]["curve"]
        counts, rss, _ = zip(*curve, strict=True)
        axes.plot(counts, rss, color=colour, linewidth=1.5)
    axes.axhline(MEMORY_MB, color="black", linestyle=":", linewidth=1)
    axes.set_xscale("symlog", linthresh=100)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.set(
        xlabel="requests answered (log scale)",
        ylabel="RSS of all processes, MB",
        title=f"Memory (lower is better; dotted: {MEMORY_MB:.0f} MB)",
    )
