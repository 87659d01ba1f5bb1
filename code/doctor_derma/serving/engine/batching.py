"""Pictures to predictions, in batches of what is waiting when the network is free."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

from doctor_derma.serving.classifier import ReadPicture
from doctor_derma.serving.prediction import Prediction

Classify = Callable[[Sequence[ReadPicture]], list[Prediction]]


class Classified(NamedTuple):
    """What became of a picture, and how.

    Attributes
    ----------
    prediction : of the picture
    batch : pictures that were in the network together
    seconds : which they were in it
    """

    prediction: Prediction
    batch: int
    seconds: float


@dataclass(frozen=True, eq=False)
class _Waiting:
    picture: ReadPicture
    answer: asyncio.Future[Classified] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher:
    """Greedy batching: a picture never waits while the network is free.

    Batches form by themselves from what comes while earlier ones run, so an idle server adds
    no wait and a busy one has full batches, without a time to tune (continuous batching, as in
    Clipper's adaptive batching [1]_ without its delay).

    Parameters
    ----------
    classify : runs the network; called in threads
    most : pictures in a batch
    runs : batches at a time

    References
    ----------
    .. [1] D. Crankshaw et al.: Clipper: A Low-Latency Online Prediction Serving System.
           NSDI 2017.
    """

    def __init__(self, classify: Classify, most: int, runs: int) -> None:
        self._classify = classify
        self._most = most
        self._free = runs
        self._threads = ThreadPoolExecutor(runs, "network")
        self._queue: deque[_Waiting] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def classify(self, picture: ReadPicture) -> Classified:
        """Classify a picture; it is left out of its batch if this is cancelled before.

        Raises
        ------
        Exception
            Whatever the network raised for the picture's batch; later batches run.
        """
        waiting = _Waiting(picture)
        self._queue.append(waiting)
        self._start()
        return await waiting.answer

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._free and (batch := self._take()):
            self._free -= 1
            task = asyncio.create_task(self._run(batch))
            # The loop itself keeps no task alive.
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._queue and len(batch) < self._most:
            waiting = self._queue.popleft()
            # Nobody waits any more for one whose time is up or whose client has gone.
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    async def _run(self, batch: list[_Waiting]) -> None:
        run = asyncio.get_running_loop().run_in_executor
        try:
            pictures = [waiting.picture for waiting in batch]
            predictions, seconds = await run(self._threads, self._timed, pictures)
            for waiting, prediction in zip(batch, predictions, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(Classified(prediction, len(batch), seconds))
        except Exception as error:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
        finally:
            self._free += 1
            self._start()

    def _timed(self, pictures: list[ReadPicture]) -> tuple[list[Prediction], float]:
        start = perf_counter()
        predictions = self._classify(pictures)
        return predictions, perf_counter() - start
