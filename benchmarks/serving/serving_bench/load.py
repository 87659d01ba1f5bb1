"""The load generator as a process of its own: prints what it measured as JSON."""

import argparse
import asyncio
import gc
import json
from pathlib import Path

from serving_bench.open_loop import OpenLoop
from serving_bench.waiting_clients import waiting_clients


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
