"""A server that runs while it is measured, and its memory, second by second."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import httpx

from doctor_derma.errors import DermaError
from serving_bench.contenders import PEERS, Contender, environment
from serving_bench.process_tree import Memory, Process, end, memory, tree

READY_SECONDS = 120.0


@dataclass
class Served:
    """A server; ``ready_seconds`` from its start until it took pictures."""

    pid: int
    ready_seconds: float

    def processes(self) -> list[Process]:
        return tree(self.pid)

    def memory(self) -> Memory:
        return memory(self.processes())


def missing(contender: Contender) -> str | None:
    """Return why a server can't be measured; None if it can."""
    if not contender.python.exists():
        return "no environment for peers: give its Python with --peers"
    if contender.needs is None:
        return None
    found = subprocess.run(
        [contender.python, "-c", f"import {contender.needs}"], capture_output=True
    )
    return (
        f"{contender.needs} is not installed for {contender.python}" if found.returncode else None
    )


@contextmanager
def served(contender: Contender, bundle: Path, scratch: Path) -> Iterator[Served]:
    """Start a server, wait until it is ready, and end all of its processes afterwards.

    Raises
    ------
    DermaError
        When it does not start.
    """
    variables = environment(bundle, scratch, contender.python)
    log = scratch / f"{contender.name}.log"
    with log.open("wb") as stream:
        options = {"cwd": PEERS, "env": variables, "stdout": stream, "stderr": stream}
        if contender.prepare and subprocess.run(contender.prepare, **options).returncode:  # type: ignore[call-overload]
            raise DermaError(
                f"{contender.name}: its model can't be made ({_end_of(log)}); read {log}"
            )
        started = time.monotonic()
        # A session of its own, so that Ctrl+C reaches the benchmark alone, which then ends it.
        process = subprocess.Popen(contender.command, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        _await_ready(contender, process, started, log)
        yield Served(process.pid, time.monotonic() - started)
    finally:
        end(tree(process.pid))
        process.wait()


def _await_ready(
    contender: Contender, process: "subprocess.Popen[bytes]", started: float, log: Path
) -> None:
    url = f"http://127.0.0.1:{contender.port}{contender.ready}"
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() - started < READY_SECONDS:
            if process.poll() is not None:
                raise DermaError(f"{contender.name}: ended at its start ({_end_of(log)})")
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
    raise DermaError(f"{contender.name}: not ready in {READY_SECONDS:.0f} s ({_end_of(log)})")


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip()[-200:] if lines else "it said nothing"


@dataclass
class Watch:
    """Samples: seconds since the start, and memory."""

    times: list[float] = field(default_factory=list)
    samples: list[Memory] = field(default_factory=list)

    @property
    def peak(self) -> Memory:
        return max(self.samples)


@contextmanager
def watching(server: Served, every: float = 1.0) -> Iterator[Watch]:
    """Sample a server's memory each second until the block ends."""
    watch, over = Watch(), Event()
    start = time.monotonic()

    def sample() -> None:
        while True:
            watch.times.append(time.monotonic() - start)
            watch.samples.append(server.memory())
            if over.wait(every):
                return

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def growth(requests: Sequence[float], megabytes: Sequence[float]) -> float | None:
    """Return the slope of memory over the second half of requests, in MB per 100,000.

    By least squares; the first half is for caches and pools to fill. None with fewer than 3
    samples there.
    """
    half = requests[-1] / 2 if requests else 0.0
    pairs = [pair for pair in zip(requests, megabytes, strict=True) if pair[0] >= half]
    if len(pairs) < 3:
        return None
    mean_x = sum(x for x, _ in pairs) / len(pairs)
    mean_y = sum(y for _, y in pairs) / len(pairs)
    spread = sum((x - mean_x) ** 2 for x, _ in pairs)
    if not spread:
        return None
    return 100_000 * sum((x - mean_x) * (y - mean_y) for x, y in pairs) / spread
