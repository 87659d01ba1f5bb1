"""Joining a cluster: what can't be joined is said at once."""

import socket
import subprocess
import sys

import pytest
import ray

from doctor_derma.distributed.cluster import ADDRESS_VARIABLE, cluster
from doctor_derma.errors import DermaError


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", "not the address of a Ray cluster"),
        ("127.0.0.1:0", "not the address of a Ray cluster"),
        ("ray://127.0.0.1:10001", "clients from outside are not supported"),
    ],
)
def test_an_address_of_nothing_is_refused(address: str, message: str) -> None:
    with pytest.raises(DermaError, match=message), cluster(address):
        pass


def test_an_address_where_nobody_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv(ADDRESS_VARIABLE, address)
        with pytest.raises(DermaError, match=f"{address}: no Ray cluster answers"), cluster():
            pass


def test_a_ray_that_would_listen_on_the_network_is_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.7")
    with pytest.raises(DermaError, match="would listen on the network"), cluster():
        pass
    assert not ray.is_initialized()


def test_ray_is_imported_only_once_it_is_told_where_to_listen() -> None:
    code = (
        "import importlib, sys\n"
        "for package in ('predict', 'train', 'tune'):\n"
        "    importlib.import_module(f'doctor_derma.distributed.{package}.run')\n"
        "    if 'ray' in sys.modules: sys.exit(f'{package} imports Ray')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
