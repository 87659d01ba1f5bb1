"""All that is measured of one server, how long and how much."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor_derma.bundle import read_info
from doctor_derma.errors import DermaError
from serving_bench.closed_loop import closed_loop
from serving_bench.contenders import CODE, HERE, Contender
from serving_bench.pictures import check_answers
from serving_bench.serving import Served, growth, served, watching

CLIENTS = (1, 8, 32)
# Shares of a server's own highest throughput at which latency is measured.
LOADS = (0.5, 0.8)
OVERLOAD = 10
SOAK_CLIENTS = 8
# Requests between two looks at how many have been answered.
SOAK_STEP_SECONDS = 10.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """One benchmark.

    Attributes
    ----------
    pictures : number of different pictures that are sent
    seconds : of each measurement
    ceiling_seconds : of each way of running the network without HTTP
    soak : requests that our server answers while its memory is watched
    peer_soak : the same for peers
    deadline : seconds after which a client gives an answer up
    connections : that the open loop may hold
    """

    pictures: int = 42
    seconds: float = 20.0
    ceiling_seconds: float = 5.0
    soak: int = 100_000
    peer_soak: int = 5_000
    deadline: float = 2.0
    connections: int = 512


QUICK = Plan(
    pictures=21, seconds=2.0, ceiling_seconds=1.0, soak=300, peer_soak=150, connections=256
)


def module(name: str, *arguments: object, stderr: int | None = subprocess.DEVNULL) -> Any:
    """Run a module of this package in a process of its own; return the JSON that it prints."""
    run = subprocess.run(
        [sys.executable, "-m", f"serving_bench.{name}", *map(str, arguments)],
        env={"PYTHONPATH": f"{HERE}:{CODE}", "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    if run.returncode:
        raise DermaError(f"{name}: ended with status {run.returncode}; run it again")
    return json.loads(run.stdout)


def write_requests(contender: Contender, pictures: Iterable[Path], folder: Path) -> Path:
    """Write a whole HTTP request for each picture into a new folder, and return the folder."""
    folder.mkdir(parents=True)
    for index, path in enumerate(pictures):
        (folder / f"{index:03d}").write_bytes(contender.request(path.read_bytes()))
    return folder


def measure_server(
    contender: Contender,
    plan: Plan,
    bundle: Path,
    expected: Mapping[Path, str],
    scratch: Path,
    say: Say,
) -> dict[str, Any]:
    """Start a server, check its answers, measure it, and end it."""
    requests = write_requests(contender, expected, scratch / "requests" / contender.name)
    say("starting")
    with served(contender, bundle, scratch) as server:
        ready = server.memory()
        say("comparing its answers")
        check_answers(contender, expected)
        say("warming up")
        closed_loop(contender.port, requests, SOAK_CLIENTS, plan.seconds / 4)
        found: dict[str, Any] = {
            "title": contender.title,
            "ready_seconds": server.ready_seconds,
            "memory_ready": ready._asdict(),
            "closed_loop": [],
        }
        for clients in CLIENTS:
            say(f"throughput with {clients} clients")
            step = closed_loop(contender.port, requests, clients, plan.seconds)
            found["closed_loop"].append(step)
        capacity = max(step["answered_per_second"] for step in found["closed_loop"])
        found["capacity_per_second"] = capacity
        say("latency of one client")
        seconds = ("--seconds", plan.seconds)
        found["one_client"] = module("load", contender.port, requests, *seconds)
        found["open_loop"] = []
        for share in LOADS:
            say(f"latency at {share:.0%} of its throughput")
            step = open_loop(contender, requests, plan, share * capacity)
            found["open_loop"].append({"load": share, **step})
        soak = plan.soak if contender.name == "ours" else plan.peer_soak
        found["soak"] = soak_server(contender, server, requests, soak, plan, say)
        say(f"{OVERLOAD} times its throughput")
        found["overload"] = overload(contender, server, requests, plan, capacity)
    return found


def throughput(
    contender: Contender, plan: Plan, bundle: Path, pictures: Sequence[Path], scratch: Path
) -> dict[str, Any]:
    """Start a server with another bundle, and measure its answers a second with most clients."""
    requests = write_requests(contender, pictures, scratch / "requests")
    with served(contender, bundle, scratch):
        closed_loop(contender.port, requests, SOAK_CLIENTS, plan.seconds / 4)
        found = closed_loop(contender.port, requests, CLIENTS[-1], plan.seconds)
    return {"bundle": read_info(bundle).name, **found}


def open_loop(contender: Contender, requests: Path, plan: Plan, rate: float) -> dict[str, Any]:
    """Send at a constant rate."""
    return module(
        *("load", contender.port, requests, "--seconds", plan.seconds, "--rate", rate),
        *("--deadline", plan.deadline, "--connections", plan.connections),
    )


def overload(
    contender: Contender, server: Served, requests: Path, plan: Plan, capacity: float
) -> dict[str, Any]:
    """Send far more than can be answered, and watch the memory."""
    before = server.memory()
    with watching(server) as watch:
        found = open_loop(contender, requests, plan, OVERLOAD * capacity)
    return {
        **found,
        "of_peak": found["answered_per_second"] / capacity,
        "memory_before": before._asdict(),
        "memory_peak": watch.peak._asdict(),
        "memory_after": server.memory()._asdict(),
    }


def soak_server(
    contender: Contender, server: Served, requests: Path, soak: int, plan: Plan, say: Say
) -> dict[str, Any]:
    """Let a server answer so many requests, and watch its memory grow or not."""
    done, curve = 0, []
    while done < soak:
        say(f"memory: {done:,} of {soak:,} requests")
        with watching(server) as watch:
            step = closed_loop(
                contender.port, requests, SOAK_CLIENTS, min(plan.seconds, SOAK_STEP_SECONDS)
            )
        answered = step["requests"] - step["not_200"]
        if not answered:
            raise DermaError(f"{contender.name}: answers no longer; read its log")
        # wrk says how many at its end only; within a step they are taken to come evenly.
        for seconds, sample in zip(watch.times, watch.samples, strict=True):
            share = min(1.0, seconds / step["seconds"])
            curve.append([done + share * answered, sample.rss, sample.pss])
        done += answered
    counts, rss, _ = (list(column) for column in zip(*curve, strict=True))
    return {
        "requests": done,
        "memory_after": server.memory()._asdict(),
        "rss_growth_per_100000": growth(counts, rss),
        "curve": [[round(value, 1) for value in point] for point in curve],
    }
