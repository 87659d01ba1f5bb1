"""A real Ray cluster of two nodes on loopback, for the tests of all that runs on Ray."""

from collections.abc import Iterator
from contextlib import contextmanager

OBJECT_STORE_BYTES = 150_000_000


@contextmanager
def two_nodes() -> Iterator[str]:
    """Start two nodes, each with its own raylet and object store, and give their address.

    Each says that it has one processor. This process doesn't join them: pass the address on, or
    call ``cluster`` with it. All of their processes end with the block, or with this process.
    """
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    try:
        for _ in range(2):
            nodes.add_node(
                node_ip_address="127.0.0.1",
                num_cpus=1,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                no_monitor=True,  # It adds machines where they are asked for; here are none.
            )
        yield nodes.address
    finally:
        nodes.shutdown()
