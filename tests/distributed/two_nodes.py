"""A real Ray cluster of two nodes on loopback, for the tests of all that runs on Ray."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

OBJECT_STORE_BYTES = 150_000_000


@contextmanager
def two_nodes(cpus: int = 1) -> Iterator[str]:
    """Start two nodes, each with its own raylet and object store, and give their address.

    This process doesn't join them: pass the address on, or call ``ray.init`` with it. All
    of their processes end with the block, or with this process.

    Parameters
    ----------
    cpus : processors that each node says it has
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    try:
        for _ in range(2):
            nodes.add_node(
                node_ip_address="127.0.0.1",
                num_cpus=cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
            )
        yield nodes.address
    finally:
        if ray.is_initialized():
            ray.shutdown()
        nodes.shutdown()
