"""Pictures to predictions, in batches of what is waiting when a processor is free."""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from doctor_derma.evaluation.decisions import Rule
from doctor_derma.serving.engine.job import Failed, Job, Result
from doctor_derma.serving.engine.work import Classify, Outcome, Read, work


class Batcher:
    """Greedy batching: a picture never waits while a processor is free.

    Batches form by themselves from what comes while earlier ones run, so an idle server adds
    no wait and a busy one has full batches, without a time to tune (continuous batching, as in
    Clipper's adaptive batching [1]_ without its delay).

    Large pictures are decoded one at a time, as two would not fit into memory, and are batches
    of their own. Small ones go past those that wait for their turn.

    Parameters
    ----------
    read : decodes a picture; called in threads, as the others are
    alone : runs the network on a picture that has the machine to itself
    batched : runs it on a batch while others may run
    most : pictures in a batch
    runs : batches at a time

    References
    ----------
    .. [1] D. Crankshaw et al.: Clipper: A Low-Latency Online Prediction Serving System.
           NSDI 2017.
    """

    def __init__(
        self, read: Read, alone: Classify, batched: Classify, most: int, runs: int
    ) -> None:
        self._read = read
        self._alone = alone
        self._batched = batched
        self._most = most
        self._runs = runs
        self._free = runs
        self._threads = ThreadPoolExecutor(runs, "classify")
        self._queue: deque[Job] = deque()
        self._large: deque[Job] = deque()
        self._large_runs = False
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
            # Its bytes would wait for their turn.
            for queue in (self._queue, self._large):
                with suppress(ValueError):
                    queue.remove(job)
            raise

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._free:
            large = not self._large_runs and bool(batch := _take(self._large, 1))
            if not large and not (batch := _take(self._queue, self._most)):
                return
            undisturbed = self._free == self._runs and len(batch) == 1
            self._free -= 1
            self._large_runs |= large
            run = self._run(batch, self._alone if undisturbed else self._batched, large)
            # The loop itself keeps no task alive.
            self._running.add(task := asyncio.create_task(run))
            task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[Job], classify: Classify, large: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            outcomes = await loop.run_in_executor(
                self._threads, work, batch, self._read, classify, large
            )
            for job, outcome in outcomes:
                self._settle(job, outcome)
        except Exception:
            failed = Failed.now()
            for job in batch:
                job.settle(failed)
        finally:
            self._free += 1
            if large:
                self._large_runs = False
            self._start()

    def _settle(self, job: Job, outcome: Outcome) -> None:
        if outcome == "large":
            self._large.append(job)
        else:
            job.settle(outcome)


def _take(queue: deque[Job], most: int) -> list[Job]:
    batch: list[Job] = []
    while queue and len(batch) < most:
        if not (job := queue.popleft()).over:
            batch.append(job)
    return batch
