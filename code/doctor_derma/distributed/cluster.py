"""A Ray cluster for the time of a block: the one that is named, or one on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from doctor_derma.cpus import usable_cpus
from doctor_derma.errors import DermaError

ADDRESS_VARIABLE = "RAY_ADDRESS"
# Blocks of decoded pictures pass through it, a few at a time.
OBJECT_STORE_BYTES = 512_000_000
# Ray itself waits minutes for an address where nobody answers.
REACH_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "localhost")


@contextmanager
def cluster(
    address: str | None = None, object_store_bytes: int = OBJECT_STORE_BYTES
) -> Iterator[None]:
    """Join a Ray cluster, or start one on this machine, and leave it at the end.

    A process that has joined one already stays in it.

    Parameters
    ----------
    address : ``host:port`` of a cluster's head, or ``auto`` for one that runs on this
        machine; that of ``$RAY_ADDRESS`` when None; without either, Ray is started here,
        on loopback, with as many processors as this process may use, and ends with the block
    object_store_bytes : size of the object store of a Ray that is started here

    Raises
    ------
    DermaError
        When the cluster can't be reached or joined.
    """
    address = address or os.environ.get(ADDRESS_VARIABLE) or None
    import ray

    if ray.is_initialized():
        _check_joined(address)
        yield
        return
    if address is None:
        _start(object_store_bytes)
    else:
        _join(address)
    try:
        yield
    finally:
        ray.shutdown()


def _start(object_store_bytes: int) -> None:
    import ray

    # Ray has much to say of its own tokens.
    logging.getLogger("ray").setLevel(logging.ERROR)
    with _on_loopback():
        ray.init(
            address="local",
            num_cpus=usable_cpus(),
            object_store_memory=object_store_bytes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


@contextmanager
def _on_loopback() -> Iterator[None]:
    # Ray takes the machine's address in the network for its own and listens there, whatever
    # address it is told, but where it can't be more than one machine.
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _join(address: str) -> None:
    import ray
    from ray.exceptions import RayError

    alone = _check_reachable(address)
    try:
        with _on_loopback() if alone else nullcontext():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DermaError(
            f"{address}: this Ray cluster can't be joined ({reason}); give host:port of its head, "
            "with the same versions of Ray and Python as here"
        ) from error


def _check_reachable(address: str) -> bool:
    """Return whether the cluster is one that only this machine sees."""
    import ray

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
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except OSError as error:
        raise DermaError(
            f"{address}: no Ray cluster answers there ({error.strerror or error}); check the "
            f"address and ${ADDRESS_VARIABLE}, or leave both out to run on this machine"
        ) from error

    return host in _LOOPBACK and not _answers(ray.util.get_node_ip_address(), int(port))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError:
        return False
    return True


def _check_joined(address: str | None) -> None:
    import ray

    joined = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", joined):
        raise DermaError(
            f"{address}: this process has joined the Ray cluster at {joined} already; "
            "leave that with ray.shutdown() first"
        )
