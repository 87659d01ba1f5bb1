"""A process with all that it started: its memory, and its end. Linux only, from ``/proc``."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TERM_SECONDS = 15.0


class Process(NamedTuple):
    """A process; the time of its start keeps a later one of the same number apart."""

    pid: int
    started: str


class Memory(NamedTuple):
    """Memory in MB: ``rss`` counts a shared page once a process, ``pss`` once."""

    rss: float
    pss: float


def tree(root: int) -> list[Process]:
    """Return a process and its descendants, parents first."""
    children: dict[int, list[int]] = {}
    started: dict[int, str] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(entry)):
            pid = int(entry.name)
            started[pid] = fields[19]
            children.setdefault(int(fields[1]), []).append(pid)
    found, wanted = [], [root]
    while wanted:
        pid = wanted.pop(0)
        if pid in started:
            found.append(Process(pid, started[pid]))
        wanted += children.get(pid, [])
    return found


def memory(processes: Iterable[Process]) -> Memory:
    """Return the memory of processes; those that have ended count nothing."""
    totals = {"Rss:": 0, "Pss:": 0}
    for process in processes:
        try:
            text = (PROC / str(process.pid) / "smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            name, *value = line.split()
            if name in totals:
                totals[name] += int(value[0])
    return Memory(totals["Rss:"] * 1024 / 1e6, totals["Pss:"] * 1024 / 1e6)


def end(processes: Iterable[Process], wait: float = TERM_SECONDS) -> None:
    """End processes, each by its number: kindly, and after ``wait`` seconds by force."""
    known = list(processes)
    if known:
        # The first one first: it may end the others in its own way.
        _signal(known[:1], signal.SIGTERM)
        _await(known, wait / 2)
    for number, seconds in ((signal.SIGTERM, wait / 2), (signal.SIGKILL, wait)):
        left = [process for process in known if is_alive(process)]
        _signal(left, number)
        _await(left, seconds)


def is_alive(process: Process) -> bool:
    """Whether a process runs; a dead one that nobody has asked about does not."""
    fields = _stat(PROC / str(process.pid))
    return fields is not None and fields[19] == process.started and fields[0] != "Z"


def _signal(processes: Iterable[Process], number: int) -> None:
    for process in processes:
        if is_alive(process):
            os.kill(process.pid, number)


def _await(processes: list[Process], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and any(map(is_alive, processes)):
        time.sleep(0.05)


def _stat(folder: Path) -> list[str] | None:
    """Return the fields of ``stat`` from the state on; the name before may hold blanks."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
