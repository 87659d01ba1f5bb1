"""The load generator as a process of its own: prints what it measured as JSON.

An open loop, or clients who wait for each answer before the next request.
"""

import argparse
import asyncio
import gc
import json
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from serving_bench.connection import Connection, Reply
from serving_bench.open_loop import OpenLoop, outcome
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path, help="folder with whole HTTP requests")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, help="requests a second; else clients that wait")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--deadline", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=512)
    given = parser.parse_args()
    requests = [path.read_bytes() for path in sorted(given.requests.iterdir())]
    # A pause for garbage would be charged to the server.
    gc.disable()
    if given.rate is None:
        found = asyncio.run(waiting_clients(given.port, requests, given.seconds, given.clients))
    else:
        loop = OpenLoop(given.port, requests, given.rate, given.deadline, given.connections)
        found = asyncio.run(loop.run(given.seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
