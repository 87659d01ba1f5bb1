"""A Ray on this machine, for the tests of a module that need no other."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor_derma.distributed.cluster import ADDRESS_VARIABLE, LOOPBACK_VARIABLE, cluster

# Before a test imports Ray, which then stays on loopback in this process.
os.environ[LOOPBACK_VARIABLE] = "0"
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
