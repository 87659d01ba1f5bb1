"""Both stacks, built from a copy of the repository and removed afterwards.

`make test-containers` runs these tests; `make test` leaves out those that need a Docker engine.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.checkout import copy_checkout
from containers.stack import Stack, port_like

BUILD_SECONDS = 2400
NEED_DOCKER = ["test_web.py", "test_workbench.py"]
collect_ignore = [] if os.environ.get("DERMA_CONTAINERS") else NEED_DOCKER


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and item.path.name in NEED_DOCKER:
            item.add_marker("containers")


@pytest.fixture(scope="session")
def checkout() -> Iterator[tuple[Path, int, int]]:
    """A copy of the repository, and the user and group that it belongs to."""
    folder = Path(tempfile.mkdtemp(prefix="derma-containers-"))
    folder.chmod(0o755)
    try:
        yield folder / "project", *copy_checkout(folder / "project")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def web_port() -> int:
    return port_like(5555)


@pytest.fixture(scope="session")
def web(checkout: tuple[Path, int, int], web_port: int) -> Iterator[Stack]:
    """The webserver, built and started."""
    variables = {"PORT": str(web_port), "DERMA_BIND": "127.0.0.1"}
    stack = Stack(checkout[0] / "deployment", f"derma-web-{os.getpid()}", variables)
    yield from started(stack, "web")


@pytest.fixture(scope="session")
def workbench_ports() -> tuple[int, int]:
    """The ports of Jupyter and of MLflow."""
    return port_like(8080), port_like(5001)


@pytest.fixture(scope="session")
def workbench(checkout: tuple[Path, int, int], workbench_ports: tuple[int, int]) -> Iterator[Stack]:
    """Jupyter and MLflow, built and started."""
    project, user, group = checkout
    jupyter, mlflow = workbench_ports
    variables = {
        "DERMA_UID": str(user),
        "DERMA_GID": str(group),
        "JUPYTER_PORT": str(jupyter),
        "MLFLOW_PORT": str(mlflow),
        "JUPYTER_TOKEN": "",
    }
    # What these are elsewhere must not reach the test.
    variables |= {"DERMA_BIND": "127.0.0.1", "DERMA_HOST": "localhost"}
    stack = Stack(project / "docker", f"derma-workbench-{os.getpid()}", variables)
    yield from started(stack, "mlflow", "jupyter")


def started(stack: Stack, *services: str) -> Iterator[Stack]:
    try:
        began = time.monotonic()
        stack.compose("build", seconds=BUILD_SECONDS)
        built = time.monotonic()
        stack.compose("up", "-d", seconds=300)
        for service in services:
            stack.wait_until_healthy(service)
        print(
            f"\n{stack.folder.name}/: built in {built - began:.0f} s, "
            f"healthy {time.monotonic() - built:.0f} s after up"
        )
        yield stack
    finally:
        stack.remove()
