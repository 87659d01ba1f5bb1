"""The figures of several processes that share a port, so that any of them can tell them all."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

# Where it is set, prometheus_client keeps all figures in files there.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_OWNER = re.compile(r"_(\d+)\.db")


@contextmanager
def shared_figures() -> Iterator[None]:
    """Let the processes that are started in this block share their figures."""
    with TemporaryDirectory(prefix="derma-metrics-") as folder:
        os.environ[_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[_VARIABLE]


def all_processes() -> CollectorRegistry | None:
    """Return the figures of all processes together; None where there is only this one."""
    if not os.environ.get(_VARIABLE):
        return None
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


def forget_dead_processes() -> None:
    """Leave out what processes that have died said of their present state; counts stay."""
    if not (folder := os.environ.get(_VARIABLE)):
        return
    owners = {
        int(found[1]) for path in Path(folder).iterdir() if (found := _OWNER.search(path.name))
    }
    for owner in owners:
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            mark_process_dead(owner)
