"""Percentiles of what was measured; exact, as every latency is kept."""

from collections.abc import Sequence
from math import ceil

SHOWN = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all are not over (nearest rank).

    Parameters
    ----------
    ordered : ascending, not empty
    share : over 0, at most 1
    """
    return ordered[max(0, ceil(share * len(ordered) - 1e-9) - 1)]


def in_milliseconds(seconds: Sequence[float]) -> dict[str, float] | None:
    """Return the percentiles ``SHOWN`` in milliseconds; None where nothing was measured."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return {name: 1000 * percentile(ordered, share) for name, share in SHOWN.items()}
