"""Clients who wait for each answer before the next request."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from serving_bench.connection import Connection, Reply
from serving_bench.open_loop import outcome
from serving_bench.percentiles import in_milliseconds


async def waiting_clients(
    port: int, requests: Sequence[bytes], seconds: float, clients: int = 1
) -> dict[str, Any]:
    """Send requests in turn for so many seconds, each client on one connection while it lasts."""
    latencies: list[float] = []
    outcomes: Counter[str] = Counter()
    # Each begins elsewhere, so that they don't send the same pictures together.
    starts = (index * len(requests) // clients for index in range(clients))
    turns = ([*requests[start:], *requests[:start]] for start in starts)
    await asyncio.gather(*(_client(port, turn, seconds, latencies, outcomes) for turn in turns))
    return {
        "outcomes": dict(outcomes),
        "answered_per_second": len(latencies) / seconds,
        "latency_ms": in_milliseconds(latencies),
    }


async def _client(
    port: int,
    requests: Sequence[bytes],
    seconds: float,
    latencies: list[float],
    outcomes: Counter[str],
) -> None:
    loop = asyncio.get_running_loop()
    connection: Connection | None = None
    end = loop.time() + seconds
    for request in cycle(requests):
        start = loop.time()
        if start >= end:
            break
        if connection is None or not connection.alive:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        answer: asyncio.Future[Reply] = loop.create_future()
        connection.send(request, answer.set_result)
        reply = await answer
        outcomes[outcome(reply)] += 1
        if reply.status == 200:
            latencies.append(loop.time() - start)
    if connection is not None:
        connection.abort()
