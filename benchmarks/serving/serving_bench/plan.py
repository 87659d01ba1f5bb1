"""How long and how much is measured."""

from dataclasses import dataclass

CLIENTS = (1, 8, 32)
# Shares of a server's own highest throughput at which latency is measured.
LOADS = (0.5, 0.8)
OVERLOAD = 10


@dataclass(frozen=True)
class Plan:
    """One benchmark.

    Attributes
    ----------
    pictures : number of different pictures that are sent
    seconds : of each measurement
    ceiling_seconds : of each way of running the network without HTTP
    soak : requests that our server answers while its memory is watched
    peer_soak : the same for peers
    deadline : seconds after which a client gives an answer up
    connections : that the open loop may hold
    """

    pictures: int = 42
    seconds: float = 20.0
    ceiling_seconds: float = 5.0
    soak: int = 100_000
    peer_soak: int = 5_000
    deadline: float = 2.0
    connections: int = 512


QUICK = Plan(
    pictures=21, seconds=2.0, ceiling_seconds=1.0, soak=300, peer_soak=150, connections=256
)
