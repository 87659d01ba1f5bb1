"""The memory of a server with all its processes, as a figure for Prometheus."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from doctor_derma.server.decoding_worker import RESIDENT, memory_of

_PROC = Path("/proc")


class ResidentMemory(Collector):
    """Measures anew whenever it is asked; nothing where the system has no ``/proc``.

    Parameters
    ----------
    process : number of the one that has started all others
    """

    def __init__(self, process: int) -> None:
        self._process = process

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the figure."""
        if found := sum(memory_of(each, RESIDENT) for each in _with_children(self._process)):
            yield GaugeMetricFamily(
                "derma_resident_bytes",
                "Resident memory of the server's processes, with the one that decodes beside it",
                value=found,
            )


def _with_children(process: int) -> Iterator[int]:
    yield process
    # A child is named at the thread that has started it. Any of them may end meanwhile.
    with suppress(OSError):
        for thread in (_PROC / str(process) / "task").iterdir():
            with suppress(OSError):
                for child in (thread / "children").read_text().split():
                    yield from _with_children(int(child))
