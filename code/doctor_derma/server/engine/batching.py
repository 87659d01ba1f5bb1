"""Pictures to predictions, in batches of what is waiting when a processor is free."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter

from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import Decoded
from doctor_derma.server.engine.decoding import Unread
from doctor_derma.server.engine.jobs import (
    Busy,
    Classify,
    Failed,
    Job,
    Outcome,
    Read,
    Result,
    work,
)

# Each takes at most two seconds of a processor, and the deadline is ten.
MAX_ISOLATED = 4


class Batcher:
    """Greedy batching: a picture never waits while a processor is free.

    Batches form by themselves from what comes while earlier ones run, so an idle server adds
    no wait and a busy one has full batches, without a time to tune (continuous batching, as in
    Clipper's adaptive batching [1]_ without its delay).

    Large pictures, and such as may take long, are decoded in isolation and one at a time, as two
    would not fit into memory. The others go past them, and only ``MAX_ISOLATED`` may wait, so
    that they fill no queue.

    Parameters
    ----------
    read : decodes a picture; called in threads, as the next two are
    alone : runs the network on a picture that has the machine to itself
    batched : runs it on a batch while others may run
    max_batch : pictures in a batch
    parallel : batches at a time
    isolated : decodes a picture somewhere else

    References
    ----------
    .. [1] D. Crankshaw et al.: Clipper: A Low-Latency Online Prediction Serving System.
           NSDI 2017.
    """

    def __init__(
        self,
        read: Read,
        alone: Classify,
        batched: Classify,
        max_batch: int,
        parallel: int,
        isolated: Callable[[bytes], Awaitable[Decoded | Unread]],
    ) -> None:
        self._read = read
        self._alone = alone
        self._batched = batched
        self._max_batch = max_batch
        self._parallel = self._free = parallel
        self._threads = ThreadPoolExecutor(parallel, "classify")
        self._queue: deque[Job] = deque()
        self._decode_isolated = isolated
        self._large: deque[Job] = deque()
        self._decoding: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def classify(self, encoded: bytes, rule: Rule | None = None) -> Result:
        """Classify a picture; it is left out of its batch if this is cancelled before.

        A picture that can't be decoded concerns no other of its batch, and a batch that fails
        no other batch.
        """
        job = Job(encoded, rule)
        self._queue.append(job)
        self._start()
        try:
            return await job.answer
        except asyncio.CancelledError:
            # Otherwise its bytes would stay in memory until its turn.
            for queue in (self._queue, self._large):
                with suppress(ValueError):
                    queue.remove(job)
            raise

    def close(self) -> None:
        """Let the threads end, and cancel isolated decoding."""
        if self._decoding is not None:
            self._decoding.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._free:
            if not (batch := _take(self._queue, self._max_batch)):
                return
            undisturbed = self._free == self._parallel and len(batch) == 1
            self._free -= 1
            run = self._run(batch, self._alone if undisturbed else self._batched)
            # The loop itself keeps no task alive.
            self._running.add(task := asyncio.create_task(run))
            task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[Job], classify: Classify) -> None:
        loop = asyncio.get_running_loop()
        try:
            outcomes = await loop.run_in_executor(self._threads, work, batch, self._read, classify)
            for job, outcome in outcomes:
                self._settle(job, outcome)
        except Exception:
            failed = Failed.now()
            for job in batch:
                job.settle(failed)
        finally:
            self._free += 1
            self._start()

    def _settle(self, job: Job, outcome: Outcome) -> None:
        if outcome != "isolated":
            job.settle(outcome)
        elif len(self._large) >= MAX_ISOLATED:
            job.settle(Busy())
        else:
            self._large.append(job)
            if self._decoding is None:
                self._decoding = asyncio.create_task(self._decode_large())

    async def _decode_large(self) -> None:
        try:
            while batch := _take(self._large, 1):
                await self._decode(batch[0])
        finally:
            self._decoding = None

    async def _decode(self, job: Job) -> None:
        start = perf_counter()
        decoded = await self._decode_isolated(job.encoded)
        if isinstance(decoded, Unread):
            job.settle(decoded)
            return
        job.decoded, job.decode_seconds = decoded, perf_counter() - start
        # It has waited long enough, so it goes first.
        self._queue.appendleft(job)
        self._start()


def _take(queue: deque[Job], most: int) -> list[Job]:
    batch: list[Job] = []
    while queue and len(batch) < most:
        if not (job := queue.popleft()).over:
            batch.append(job)
    return batch
