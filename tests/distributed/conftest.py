"""Two Rays for the tests: one that starts on this machine, and one of two nodes, once for all."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from distributed.two_nodes import two_nodes
from doctor_derma.distributed.cluster import ADDRESS_VARIABLE, LOOPBACK_VARIABLE, cluster

# Before a test imports Ray, which then stays on loopback in this process.
os.environ[LOOPBACK_VARIABLE] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# A Ray that starts here would have a token from then on, which one that runs already has not.
os.environ["RAY_AUTH_MODE"] = "disabled"
# Ray Train looks only so often whether its workers have ended; 2 s is long beside these runs.
os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.5"
# A process of its own in each group of workers, for machines that a cloud takes back.
os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
OBJECT_STORE_BYTES = 200_000_000
TIMEOUT_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test may start two clusters of ten processes, which on a busy machine takes minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.fixture(autouse=True)
def _no_cluster_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """This process has joined a Ray that was started for the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ADDRESS_VARIABLE, raising=False)
        with cluster(object_store_bytes=OBJECT_STORE_BYTES):
            yield


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Two nodes with a processor each, which this process has not joined."""
    with two_nodes() as found:
        yield found
