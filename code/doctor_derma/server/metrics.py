"""Prometheus metrics of the server, in one process or in several."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from doctor_derma.bundle import BundleInfo
from doctor_derma.inference.prediction import Abstention, Prediction
from doctor_derma.server.decoding_worker import RESIDENT, memory_of
from doctor_derma.server.drift import ODDITIES, Drift, expected_shares

METRICS_PATH = "/metrics"
# Of requests for nothing that is there, and of those that are refused before they are routed.
UNKNOWN_ROUTE = "unknown"
# Where it is set, prometheus_client keeps all metrics in files there.
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_OWNER = re.compile(r"_(\d+)\.db")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PICTURES = (1, 2, 4, 8, 12, 16, 24, 32, 64)
_STAGES = ("decode", "wait", "network")
_REASONS = ("overloaded", "draining", "client_limit", "late", "gone", "unreadable", "failed")


class Metrics:
    """All metrics of one server, in a registry of its own: a process may run several servers.

    ``waiting`` is the number of pictures that are accepted and not yet answered, and ``batch``
    observes the size of each batch.
    """

    def __init__(self, info: BundleInfo) -> None:
        self.registry = registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        # With several processes, that of the one that set it last.
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livemostrecent")
        self._drift = Drift(info)
        self._requests = histogram(
            "derma_request_seconds",
            "From the first byte of a request to the last of its answer",
            ("route", "method", "status"),
            buckets=_SECONDS,
        )
        stages = histogram(
            "derma_picture_seconds",
            "Time of a picture in each stage: decoded, waiting, in the network with its batch",
            ("stage",),
            buckets=_SECONDS,
        )
        self._stages = [stages.labels(stage) for stage in _STAGES]
        self.batch = histogram(
            "derma_batch_pictures", "Pictures in the network together", buckets=_PICTURES
        )
        self.waiting = gauge(
            "derma_waiting_pictures",
            "Pictures that are accepted and not yet answered",
            multiprocess_mode="livesum",
        )
        self._predictions = counter(
            "derma_predictions", "Pictures by the class that they are called", ("label",)
        )
        self._comparable = counter(
            "derma_comparable_predictions",
            "Pictures by the class that the server's own rule calls them without patient data",
            ("label",),
        )
        self._abstentions = counter(
            "derma_abstentions", "Pictures whose label is no answer", ("reason",)
        )
        self._refused = counter(
            "derma_refused_pictures", "Pictures without a prediction", ("reason",)
        )
        expected = gauge(
            "derma_expected_share",
            "Share of each class among the labels of pictures like the validation images",
            ("label",),
        )
        for name, share in expected_shares(info).items():
            expected.labels(name).set(share)
        self._class_drift = gauge(
            "derma_class_drift",
            "Population stability index of the last 1,000 labels against the validation images; "
            "over 0.25 is a shift; NaN before 200 pictures",
        )
        input_share = gauge(
            "derma_input_share",
            "Share of the last 1,000 pictures that few training images are like; "
            "NaN before 200 pictures",
            ("oddity",),
        )
        self._input_shares = {oddity: input_share.labels(oddity) for oddity in ODDITIES}
        model = gauge(
            "derma_model",
            "1; the labels say which model answers",
            ("name", "run", "weights_sha256"),
        )
        model.labels(info.name, info.run, info.weights.sha256).set(1)
        # So that each is there, with 0, before it first happens.
        for name in info.class_names:
            self._predictions.labels(name)
            self._comparable.labels(name)
        for reason in get_args(Abstention):
            self._abstentions.labels(reason)
        for reason in _REASONS:
            self._refused.labels(reason)
        self._show_drift()
        ProcessCollector(registry=registry)
        registry.register(ResidentMemory(os.getpid()))

    def requested(self, route: str, method: str, status: int, seconds: float) -> None:
        """Note a request that was answered; ``route`` is its template, never its own path."""
        self._requests.labels(route, method, str(status)).observe(seconds)

    def timed(self, *seconds: float) -> None:
        """Note how long a picture was decoded, waited, and was in the network."""
        for stage, spent in zip(self._stages, seconds, strict=True):
            stage.observe(spent)

    def predicted(self, prediction: Prediction) -> None:
        """Note a prediction."""
        self._predictions.labels(prediction.label).inc()
        if prediction.abstention:
            self._abstentions.labels(prediction.abstention).inc()
        if self._drift.add(prediction):
            self._comparable.labels(prediction.label).inc()
        self._show_drift()

    def refused(self, reason: str) -> None:
        """Note a picture that gets no prediction."""
        self._refused.labels(reason).inc()

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics and their content type, as the header ``Accept`` asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(all_processes() or self.registry), content_type

    def _show_drift(self) -> None:
        self._class_drift.set(self._drift.class_stability)
        for oddity, share in self._input_shares.items():
            share.set(self._drift.share(oddity))


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Let the processes that are started in this block share their metrics."""
    with TemporaryDirectory(prefix="derma-metrics-") as folder:
        os.environ[_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[_VARIABLE]


def all_processes() -> CollectorRegistry | None:
    """Return the metrics of all processes together; None where there is only this one."""
    if not os.environ.get(_VARIABLE):
        return None
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(ResidentMemory(os.getppid()))
    return registry


def forget_dead_processes() -> None:
    """Remove the gauges of processes that have died; their counters stay."""
    if not (folder := os.environ.get(_VARIABLE)):
        return
    for owner in {int(of) for path in Path(folder).iterdir() for of in _OWNER.findall(path.name)}:
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            mark_process_dead(owner)


class ResidentMemory(Collector):
    """The memory of a process and of all that it has started, measured anew whenever it is asked.

    Nothing where the system has no ``/proc``.
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
        for thread in Path("/proc", str(process), "task").iterdir():
            with suppress(OSError):
                for child in (thread / "children").read_text().split():
                    yield from _with_children(int(child))
