"""A Ray cluster for the time of a block: the one that is named, or one on this machine."""

import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from doctor_derma.cpus import usable_cpus
from doctor_derma.errors import DermaError, first_line

ADDRESS_VARIABLE = "RAY_ADDRESS"
# Blocks of decoded pictures pass through it, a few at a time.
OBJECT_STORE_BYTES = 512_000_000
# Ray itself waits minutes for an address where nobody answers.
REACH_SECONDS = 10.0
# At 0, as Ray has it on macOS and Windows, a node takes 127.0.0.1 for its address. Otherwise it
# takes the one in the network and listens there, whatever it is told. Read when Ray is imported.
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def cluster(
    address: str | None = None, object_store_bytes: int = OBJECT_STORE_BYTES
) -> Iterator[None]:
    """Join a Ray cluster, or start one on this machine, and leave it at the end.

    A process that has joined one already stays in it. One that was in a cluster on loopback
    can't join one in a network afterwards.

    Parameters
    ----------
    address : ``host:port`` of a cluster's head, or ``auto`` for one that runs on this
        machine; that of ``$RAY_ADDRESS`` when None; without either, Ray is started here,
        on loopback, with as many processors as this process may use, and ends with the block
    object_store_bytes : size of the object store of a Ray that is started here

    Raises
    ------
    DermaError
        When the cluster can't be reached or joined, or Ray was imported before and would
        listen on the network.
    """
    address = address or os.environ.get(ADDRESS_VARIABLE) or None
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        joined = sys.modules["ray"].get_runtime_context().gcs_address
        if address not in (None, "auto", joined):
            raise DermaError(
                f"{address}: this process has joined the Ray cluster at {joined} already; "
                "leave that with ray.shutdown() first"
            )
        yield
        return
    if address is None or _is_on_loopback(address):
        _stay_on_loopback()
    if address is None:
        _start(object_store_bytes)
    else:
        _join(address)
    import ray

    try:
        yield
    finally:
        ray.shutdown()


def _stay_on_loopback() -> None:
    os.environ[LOOPBACK_VARIABLE] = "0"
    import ray

    if not ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback:
        raise DermaError(
            "Ray was imported before, and would listen on the network; "
            f"set {LOOPBACK_VARIABLE}=0 before that, or start it with ray.init()"
        )


def _start(object_store_bytes: int) -> None:
    import ray

    # Ray has much to say of its own tokens.
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(
        address="local",
        num_cpus=usable_cpus(),
        object_store_memory=object_store_bytes,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _join(address: str) -> None:
    import ray
    from ray.exceptions import RayError

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise DermaError(
            f"{address}: this Ray cluster can't be joined ({first_line(error)}); give host:port of "
            "its head, with the same versions of Ray and Python as here"
        ) from error


def _is_on_loopback(address: str) -> bool:
    """Return whether only this machine sees the cluster; refuse an address that doesn't answer."""
    if "://" in address:
        raise DermaError(
            f"{address}: clients from outside are not supported; run the command on a machine of "
            "the cluster, or hand it in with 'ray job submit', and give host:port of the head"
        )
    if address == "auto":
        return False
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise DermaError(f"{address}: not the address of a Ray cluster; give host:port of its head")
    host = host.strip("[]")
    if error := _connection_error(host, int(port)):
        raise DermaError(
            f"{address}: no Ray cluster answers there ({error.strerror or error}); check the "
            f"address and ${ADDRESS_VARIABLE}, or leave both out to run on this machine"
        ) from error
    is_here = host in ("127.0.0.1", "localhost")
    return is_here and _connection_error(_network_address(), int(port)) is not None


def _connection_error(host: str, port: int) -> OSError | None:
    try:
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError as error:
        return error
    return None


def _network_address() -> str:
    """Return this machine's address in the network, as Ray finds it; loopback without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 80))  # Chooses a route and sends nothing.
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
