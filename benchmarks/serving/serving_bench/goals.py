"""What the server is meant to reach, and whether it does."""

from typing import Any, NamedTuple

OF_CEILING = 0.93
OF_BARE_P99 = 1.3
# Of a plain server on torch, and of this server with the bundle that was shipped before.
TIMES_TORCH = 3.0
TIMES_PREVIOUS = 4.0
READY_SECONDS = 1.5
MEMORY_MB = 200.0
# Of what 100,000 requests may add, a few per cent of the whole is noise of the allocator.
GROWTH_MB = 10.0
GOODPUT = 0.9
LEAST_SOAK = 20_000


class Goal(NamedTuple):
    """A goal; ``reached`` is None where this run can't tell."""

    what: str
    goal: str
    measured: str
    reached: bool | None


def at_most_clients(server: dict[str, Any]) -> float:
    """Return answers a second with the most clients."""
    return server["closed_loop"][-1]["answered_per_second"]


def goals(results: dict[str, Any]) -> list[Goal]:
    """Judge our server; empty where it was not measured."""
    servers = {
        name: found for name, found in results["servers"].items() if "not_measured" not in found
    }
    ours = servers.pop("ours", None)
    if ours is None:
        return []
    clients = ours["closed_loop"][-1]["clients"]
    found = []
    speed = at_most_clients(ours)
    if ceiling := results.get("ceiling"):
        share = speed / ceiling["best"]["per_second"]
        found.append(
            Goal(
                f"throughput at {clients} clients, of the ceiling",
                f">= {OF_CEILING:.2f}",
                f"{share:.3f}",
                share >= OF_CEILING,
            )
        )
        bare = ceiling["one_at_a_time"]["sleeping"]["latency_ms"]["p99"]
        ratio = ours["one_client"]["latency_ms"]["p99"] / bare
        found.append(
            Goal(
                "p99 of one client, of decode + inference",
                f"<= {OF_BARE_P99:.1f}x",
                f"{ratio:.2f}x ({ours['one_client']['latency_ms']['p99']:.1f} of {bare:.1f} ms)",
                ratio <= OF_BARE_P99,
            )
        )
    if flask := servers.get("flask"):
        found.append(_times("Flask + torch", speed / at_most_clients(flask), TIMES_TORCH, clients))
    if previous := results.get("previous"):
        ratio = speed / previous["answered_per_second"]
        found.append(_times(f"the bundle {previous['bundle']}", ratio, TIMES_PREVIOUS, clients))
    seconds = ours["ready_seconds"]
    found.append(
        Goal("ready after its start", f"<= {READY_SECONDS:.1f} s", f"{seconds:.2f} s",
             seconds <= READY_SECONDS)
    )  # fmt: skip
    return [*found, *_memory_goals(ours["soak"]), _goodput_goal(ours["overload"])]


def _times(of: str, ratio: float, goal: float, clients: int) -> Goal:
    what = f"throughput at {clients} clients, of {of}"
    return Goal(what, f">= {goal:.0f}x", f"{ratio:.2f}x", ratio >= goal)


def _memory_goals(soak: dict[str, Any]) -> list[Goal]:
    enough = soak["requests"] >= LEAST_SOAK
    rss, growth = soak["memory_after"]["rss"], soak["rss_growth_per_100000"]
    told = "too few samples" if growth is None else f"{growth:+.1f} MB"
    flat = abs(growth) <= GROWTH_MB if enough and growth is not None else None
    return [
        Goal(
            f"memory after {soak['requests']:,} requests",
            f"<= {MEMORY_MB:.0f} MB",
            f"{rss:.0f} MB",
            rss <= MEMORY_MB if enough else None,
        ),
        Goal("its growth in 100,000 requests", f"<= {GROWTH_MB:.0f} MB", told, flat),
    ]


def _goodput_goal(overload: dict[str, Any]) -> Goal:
    return Goal(
        "answers in time at 10 times its throughput, of its peak",
        f">= {GOODPUT:.1f}",
        f"{overload['of_peak']:.3f}",
        overload["of_peak"] >= GOODPUT,
    )
