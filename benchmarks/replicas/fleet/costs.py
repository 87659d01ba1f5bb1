"""What replicas cost a month, from prices that are arguments, not facts of this file."""

from dataclasses import dataclass
from math import ceil

HOURS = 730.0


@dataclass(frozen=True)
class Prices:
    """US dollars, without tax, discounts, traffic and storage.

    Attributes
    ----------
    node_hour : of a Kubernetes node
    node_replicas : that fit on one
    cluster_hour : of the control plane
    dyno_month : of a Heroku dyno
    """

    node_hour: float = 0.34
    node_replicas: int = 4
    cluster_hour: float = 0.10
    dyno_month: float = 250.0


def nodes(replicas: int, prices: Prices, zones: int = 1) -> int:
    """Return how many nodes hold so many replicas, at least one in each zone."""
    return max(zones, ceil(replicas / prices.node_replicas))


def kubernetes_month(replicas: int, prices: Prices, zones: int = 1) -> float:
    """Return dollars a month on Kubernetes: the nodes and one control plane."""
    return HOURS * (nodes(replicas, prices, zones) * prices.node_hour + prices.cluster_hour)


def heroku_month(dynos: int, prices: Prices) -> float:
    """Return dollars a month on Heroku."""
    return dynos * prices.dyno_month
