"""Pictures to predictions, in batches of what is waiting when a processor is free."""

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, NamedTuple

from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import Decoded, UnreadableImage
from doctor_derma.inference.classifier import ReadPicture
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.decoding import TAKES_TOO_MUCH, Unread, where_to_decode

# Each takes at most two seconds of a processor, and the deadline is ten.
MAX_ISOLATED = 4
# The last calls of the traceback; those before are the server's own.
REPORTED_CALLS = 5

Read = Callable[[bytes | Decoded], ReadPicture]
Classify = Callable[[Sequence[ReadPicture]], list[Prediction]]


class Classified(NamedTuple):
    """A prediction and how it was made.

    Attributes
    ----------
    prediction : of the picture
    batch : pictures that were in the network together
    decode_seconds, network_seconds : spent on decoding it, and on its batch in the network
    """

    prediction: Prediction
    batch: int
    decode_seconds: float
    network_seconds: float


class Failed(NamedTuple):
    """What the network raised, as the text of its traceback."""

    report: str

    @classmethod
    def now(cls) -> "Failed":
        """Report the exception that is being handled."""
        return cls(traceback.format_exc(limit=-REPORTED_CALLS))


class Busy(NamedTuple):
    """Too many large pictures wait already."""


# What comes back from a thread is a value. An exception would bring the frames that it passed,
# with the picture in them, and waits with it for the next run of the cycle collector.
Result = Classified | Unread | Failed | Busy
# What one run makes of a job; one that needs isolated decoding comes back afterwards.
Outcome = Result | Literal["isolated"]


@dataclass(eq=False)
class Job:
    """A picture of a patient that waits for ``answer``, by a rule or, when None, the model's own.

    ``decoded`` is there when it was decoded in isolation, in ``decode_seconds``.
    """

    encoded: bytes
    rule: Rule | None = None
    patient: Patient = NOBODY
    answer: "asyncio.Future[Result]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    decoded: Decoded | None = None
    decode_seconds: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more: answered, timed out, or the client has gone."""
        return self.answer.done()

    def settle(self, result: Result) -> None:
        """Set the answer, if it is still waited for."""
        if not self.over:
            self.answer.set_result(result)


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
        # Guards the queue, and how many threads are free.
        self._lock = threading.Lock()
        self._queue: deque[Job] = deque()
        self._decode_isolated = isolated
        self._large: deque[Job] = deque()
        self._decoding: asyncio.Task[None] | None = None

    async def classify(
        self, encoded: bytes, rule: Rule | None = None, patient: Patient = NOBODY
    ) -> Result:
        """Classify a picture; it is left out of its batch if this is cancelled before.

        A picture that can't be decoded concerns no other of its batch, and a batch that fails
        no other batch.
        """
        job = Job(encoded, rule, patient)
        with self._lock:
            self._queue.append(job)
        self._start()
        try:
            return await job.answer
        except asyncio.CancelledError:
            # Otherwise its bytes would stay in memory until its turn.
            for queue in (self._queue, self._large):
                with self._lock, suppress(ValueError):
                    queue.remove(job)
            raise

    def close(self) -> None:
        """Let the threads end, and cancel isolated decoding."""
        if self._decoding is not None:
            self._decoding.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        while run := self._next():
            self._threads.submit(self._run, loop, *run)

    def _next(self, free: int = 0) -> tuple[list[Job], Classify] | None:
        """Take the next batch, with one of the free threads or those that become so."""
        with self._lock:
            self._free += free
            if not self._free or not (batch := _take(self._queue, self._max_batch)):
                return None
            undisturbed = self._free == self._parallel and len(batch) == 1
            self._free -= 1
            return batch, self._alone if undisturbed else self._batched

    def _run(self, loop: asyncio.AbstractEventLoop, batch: list[Job], classify: Classify) -> None:
        """Work on a batch, and then on what waits: a busy event loop would hand it on late."""
        run: tuple[list[Job], Classify] | None = (batch, classify)
        while run:
            try:
                outcomes = work(run[0], self._read, run[1])
            except Exception:
                failed = Failed.now()
                outcomes = [(job, failed) for job in run[0]]
            run = self._next(free=1)
            # The loop is closed when nobody waits for an answer any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._settle, outcomes)

    def _settle(self, outcomes: list[tuple[Job, Outcome]]) -> None:
        for job, outcome in outcomes:
            if outcome != "isolated":
                job.settle(outcome)
            elif self._decoding is None:
                self._decoding = asyncio.create_task(self._decode_large(job))
            elif len(self._large) >= MAX_ISOLATED:
                job.settle(Busy())
            else:
                self._large.append(job)

    async def _decode_large(self, first: Job) -> None:
        batch = [] if first.over else [first]
        del first  # Its bytes would stay for as long as others are decoded.
        try:
            while batch or (batch := _take(self._large, 1)):
                await self._decode(batch.pop())
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
        with self._lock:
            self._queue.appendleft(job)
        self._start()


def _take(queue: deque[Job], most: int) -> list[Job]:
    batch: list[Job] = []
    while queue and len(batch) < most:
        if not (job := queue.popleft()).over:
            batch.append(job)
    return batch


def work(jobs: Sequence[Job], read: Read, classify: Classify) -> list[tuple[Job, Outcome]]:
    """Decode and classify a batch, without the jobs that are over.

    One thread does both, so that the pixels are still in its processor's cache when the network
    wants them, and hardly more threads than processors compete for these.
    """
    outcomes: list[tuple[Job, Outcome]] = []
    pictures: list[tuple[Job, ReadPicture]] = []
    for job in jobs:
        if job.over:
            continue
        start = perf_counter()
        found = _read(job, read)
        job.decode_seconds += perf_counter() - start
        if isinstance(found, ReadPicture):
            pictures.append((job, found))
        else:
            outcomes.append((job, found))
    return outcomes + _classify([each for each in pictures if not each[0].over], classify)


def _read(job: Job, read: Read) -> ReadPicture | Outcome:
    try:
        place = "here" if job.decoded else where_to_decode(job.encoded)
        if place != "here":
            return TAKES_TOO_MUCH if place == "nowhere" else "isolated"
        picture = read(job.decoded or job.encoded)
        return picture._replace(rule=job.rule, patient=job.patient)
    except UnreadableImage as error:
        return Unread(str(error), error.kind)
    except Exception:
        return Failed.now()


def _classify(
    pictures: list[tuple[Job, ReadPicture]], classify: Classify
) -> list[tuple[Job, Outcome]]:
    if not pictures:
        return []
    start = perf_counter()
    try:
        predictions = classify([picture for _, picture in pictures])
        seconds = perf_counter() - start
        return [
            (job, Classified(prediction, len(pictures), job.decode_seconds, seconds))
            for (job, _), prediction in zip(pictures, predictions, strict=True)
        ]
    except Exception:
        failed = Failed.now()
        return [(job, failed) for job, _ in pictures]
