"""An open loop: requests come at a constant rate, as from people who don't know of each other.

Latency counts from when a request was due, not from when it could be sent: a server that stalls
is charged for everyone who would have waited (no coordinated omission).
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

from serving_bench.connection import BROKEN, Connection, Reply
from serving_bench.percentiles import in_milliseconds

SWEEP_SECONDS = 0.02
# 503, or 429 for an address with too many requests under way, as those of this process are.
REFUSED = "refused with Retry-After"


class OpenLoop:
    """One run against one port.

    Parameters
    ----------
    requests : whole HTTP requests, sent in turn
    rate : requests a second
    deadline : seconds after which a request is given up, from when it was due
    connections : at most; a request that finds none free waits for one
    """

    def __init__(
        self, port: int, requests: Sequence[bytes], rate: float, deadline: float, connections: int
    ) -> None:
        self._port = port
        self._requests = cycle(requests)
        self._rate = rate
        self._deadline = deadline
        self._room = connections
        self._idle: list[Connection] = []
        self._waiting: deque[float] = deque()
        # By the order in which they were sent.
        self._sent: OrderedDict[int, tuple[float, Connection]] = OrderedDict()
        self._connecting = 0
        self._number = 0
        self._lags: list[float] = []
        self._latencies: list[float] = []
        self._done_in_time = 0
        self.outcomes: Counter[str] = Counter()

    async def run(self, seconds: float) -> dict[str, Any]:
        """Send for so many seconds, and wait for the last answers."""
        self._loop = asyncio.get_running_loop()
        processor = time.process_time()
        start = self._loop.time() + 0.05
        self._end = start + seconds
        sweeper = asyncio.create_task(self._sweep())
        for offset in arrivals(self._rate, seconds):
            due = start + offset
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            elif self._number % 64 == 0:
                await asyncio.sleep(0)
            self._lags.append(self._loop.time() - due)
            self._offer(due)
        while self._waiting or self._sent or self._connecting:
            await asyncio.sleep(SWEEP_SECONDS)
        sweeper.cancel()
        spent = time.process_time() - processor
        for connection in self._idle:
            connection.abort()
        return {
            "offered_per_second": self._rate,
            "seconds": seconds,
            "outcomes": dict(self.outcomes),
            "answered_per_second": self._done_in_time / seconds,
            "latency_ms": in_milliseconds(self._latencies),
            "generator_lag_ms": in_milliseconds(self._lags),
            "generator_cpu_share": spent / (self._loop.time() - start),
        }

    def _offer(self, due: float) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                self._send(connection, due)
                return
            self._room += 1
        if self._room:
            self._room -= 1
            self._connecting += 1
            task = self._loop.create_task(self._connect(due))
            task.add_done_callback(lambda done: done.exception())
        else:
            self._waiting.append(due)

    async def _connect(self, due: float) -> None:
        try:
            _, connection = await self._loop.create_connection(Connection, "127.0.0.1", self._port)
        except OSError:
            self._room += 1
            self._note(due, BROKEN)
        else:
            self._send(connection, due)
        finally:
            self._connecting -= 1

    def _send(self, connection: Connection, due: float) -> None:
        self._number += 1
        number = self._number
        self._sent[number] = due, connection

        def reply(reply: Reply) -> None:
            del self._sent[number]
            self._note(due, reply)
            self._free(connection, reply.reusable)

        connection.send(next(self._requests), reply)

    def _note(self, due: float, reply: Reply) -> None:
        now = self._loop.time()
        if reply.status == 200:
            self._latencies.append(now - due)
            self._done_in_time += now <= self._end
        self.outcomes[outcome(reply)] += 1

    def _free(self, connection: Connection, reusable: bool) -> None:
        if reusable:
            self._idle.append(connection)
        else:
            self._room += 1
        if self._waiting:
            self._offer(self._waiting.popleft())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            late = self._loop.time() - self._deadline
            while self._waiting and self._waiting[0] < late:
                self._waiting.popleft()
                self.outcomes["no connection in time"] += 1
            for number, (due, connection) in list(self._sent.items()):
                if due < late:
                    del self._sent[number]
                    connection.abort()
                    self.outcomes["given up"] += 1
                    self._free(connection, reusable=False)


def arrivals(rate: float, seconds: float) -> Iterator[float]:
    """Yield the seconds after the start at which requests are due, ``1 / rate`` apart."""
    index = 0
    while (due := index / rate) < seconds:
        yield due
        index += 1


def outcome(reply: Reply) -> str:
    """Name what became of a request."""
    if reply.status == 0:
        return "connection broke"
    if reply.status in (429, 503) and reply.retry_after:
        return REFUSED
    return str(reply.status)
