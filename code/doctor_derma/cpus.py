"""How many processors this process may use, in a container too."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

# Threads of a container that are neither the network's nor the decoder's.
OTHER_THREADS = 50


def usable_cpus(root: Path = Path("/")) -> int:
    """Return how many processors this process may use, at least 1.

    The least of three limits: the processors that it is bound to, the processor time that its
    control groups grant (``cpu.max``, in version 1 ``cpu.cfs_quota_us``; one and a half count as
    two), and a third of the threads that they allow (``pids.max``), as a server has two threads a
    processor, one that decodes and one of the network.

    ``root`` is where ``proc/self/cgroup`` and ``sys/fs/cgroup`` are.
    """
    can_be_bound = hasattr(os, "sched_getaffinity")
    limits = [len(os.sched_getaffinity(0)) if can_be_bound else os.cpu_count() or 1]
    for group in _groups(root, "cpu"):
        version_1 = _numbers(group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us")
        # A quota of "max" or -1 is none.
        for quota, period in (_numbers(group / "cpu.max"), version_1):
            if quota > 0 and period > 0:
                limits.append(math.ceil(quota / period))
    for group in _groups(root, "pids"):
        threads, _ = _numbers(group / "pids.max")
        if threads > 0:
            limits.append((threads - OTHER_THREADS) // 3)
    return max(1, min(limits))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those that it lies in.

    Inside a container the group's own path may be unknown, and its files lie at the top.
    """
    top = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            mounts = [top / "unified", top]
        elif controller in controllers.split(","):
            mounts = [top / controller, top / controllers]
        else:
            continue
        mount = next((found for found in mounts if found.is_dir()), None)
        if mount is not None:
            below = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(below), -1, -1):
                yield mount.joinpath(*below[:depth])


def _numbers(*files: Path) -> tuple[int, int]:
    """Return the first two numbers of some files, -1 where there is none."""
    words = " ".join(_text(file) for file in files).split()
    numbers = [int(word) if word.isdecimal() else -1 for word in words]
    first, second, *_ = [*numbers, -1, -1]
    return first, second


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
