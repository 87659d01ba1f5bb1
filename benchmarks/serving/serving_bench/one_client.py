"""One client who waits for each answer before the next request."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from serving_bench.connection import Connection, Reply
from serving_bench.open_loop import outcome
from serving_bench.percentiles import in_milliseconds


async def one_client(port: int, requests: Sequence[bytes], seconds: float) -> dict[str, Any]:
    """Send requests in turn for so many seconds, on one connection while it lasts."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    outcomes: Counter[str] = Counter()
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
    return {"outcomes": dict(outcomes), "latency_ms": in_milliseconds(latencies)}
