"""The engine: admission, batching, deadlines, and a shutdown that loses nothing."""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from math import ceil
from pathlib import Path
from time import monotonic, perf_counter
from typing import NamedTuple

from doctor_derma.decisions import Rule
from doctor_derma.inference.classifier import Classifier, ReadPicture
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.batching import Batcher, Busy, Classified, Classify, Failed, Result
from doctor_derma.server.engine.decoding import IsolatedDecoder, Unread
from doctor_derma.server.logs import CURRENT
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.problems import (
    LATE,
    NOT_READY,
    OVERLOADED,
    ProblemError,
    ProblemType,
    unreadable,
)
from doctor_derma.server.settings import Settings

LONGEST_RETRY_SECONDS = 30
LATE_RETRY_SECONDS = 1
# In which one of the large pictures that wait should be decoded.
ISOLATED_RETRY_SECONDS = 2


class Overloaded(ProblemError):  # noqa: N818
    """The queue is full; another picture could not be answered soon.

    Attributes
    ----------
    retry_after : seconds after which there should be room
    """

    def __init__(
        self,
        retry_after: int,
        type: ProblemType = OVERLOADED,
        detail: str = "Too many pictures are waiting; send this again in a moment.",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(type, detail, headers, retry_after=retry_after)
        self.retry_after = retry_after


class Draining(Overloaded):
    """The engine is starting or stopping."""

    def __init__(self, retry_after: int) -> None:
        detail = "The server is stopping; send this again in a moment."
        super().__init__(retry_after, NOT_READY, detail, {"Connection": "close"})


class DeadlineExceeded(ProblemError):  # noqa: N818
    """The picture waited too long."""

    def __init__(self) -> None:
        detail = "The picture waited too long and was given up; send it again."
        super().__init__(LATE, detail, retry_after=LATE_RETRY_SECONDS)


class NetworkFailed(Exception):  # noqa: N818
    """The network failed on the picture's batch; the message is the traceback."""


class Admission:
    """A bound on the pictures that are accepted and not yet answered.

    A new picture waits for all that wait already. An unbounded queue grows until no picture is
    answered in time, although the server is always busy.
    """

    def __init__(self, limit: int) -> None:
        self.waiting = 0
        self._limit = limit
        self._answered: deque[float] = deque(maxlen=max(limit, 2))
        # Time that passed while there was work, so that idle hours don't count as slowness.
        self._busy_before = 0.0
        self._busy_since = 0.0

    @property
    def room(self) -> int:
        """Pictures that would be accepted now."""
        return self._limit - self.waiting

    @property
    def retry_after(self) -> int:
        """Whole seconds after which the present queue should be answered, at the recent rate."""
        if len(self._answered) < 2:
            return 1
        seconds = (self._busy() - self._answered[0]) / len(self._answered)
        return min(max(ceil(self.waiting * seconds), 1), LONGEST_RETRY_SECONDS)

    def enter(self) -> None:
        """Accept a picture; raises ``Overloaded`` when the queue is full."""
        if self.room <= 0:
            raise Overloaded(self.retry_after)
        if not self.waiting:
            self._busy_since = monotonic()
        self.waiting += 1

    def leave(self, answered: bool) -> None:
        """Note that a picture was answered, or given up."""
        if answered:
            self._answered.append(self._busy())
        self.waiting -= 1
        if not self.waiting:
            self._busy_before += monotonic() - self._busy_since

    def _busy(self) -> float:
        return self._busy_before + (monotonic() - self._busy_since if self.waiting else 0.0)


class Classifiers(NamedTuple):
    """One bundle, loaded for a picture alone and for many at once.

    A picture that comes alone is answered soonest on all processors. Batches cost least on one
    each, side by side: threads that share a batch wait for each other after every layer, which
    takes a sixth of two processors.

    Attributes
    ----------
    alone : its network computes on all processors
    batched : its network computes on one
    parallel : batches at a time, one more than processors: a thread that is done waits for the
        event loop to hand it the next, and meanwhile another has a processor to itself
    """

    alone: Classifier
    batched: Classifier
    parallel: int

    @classmethod
    def load(
        cls, bundle: Path, cpus: int, rule: Rule | None, providers: Sequence[str]
    ) -> "Classifiers":
        """Load a bundle for so many processors; the rest is as for ``Classifier.load``."""
        load = partial(Classifier.load, bundle, rule=rule, providers=providers)
        alone = load(threads=cpus)
        return cls(alone, load(threads=1) if cpus > 1 else alone, cpus + 1)


class Engine:
    """Classifies encoded pictures for many requests at once, and tells ``metrics`` of all of it."""

    def __init__(self, classifiers: Classifiers, settings: Settings, metrics: Metrics) -> None:
        self.ready = False
        self._admission = Admission(settings.queue_limit)
        self._isolated = IsolatedDecoder(classifiers.alone.height, classifiers.alone.width)
        self._batcher = Batcher(
            classifiers.alone.read,
            self._counted(classifiers.alone.classify),
            self._counted(classifiers.batched.classify),
            settings.max_batch,
            classifiers.parallel,
            self._isolated.decode,
        )
        self._deadline = settings.deadline_seconds
        self._metrics = metrics
        self._answered = asyncio.Event()

    async def start(self) -> None:
        """Take pictures from now on."""
        self.ready = True

    async def drain(self) -> None:
        """Take no more pictures, and return when those that were accepted are answered.

        A request that was accepted before, see ``RequestRecord``, may go on bringing pictures.
        """
        self.ready = False
        while self._admission.waiting:
            self._answered.clear()
            await self._answered.wait()

    async def stop(self) -> None:
        """Drain, and end the threads and processes; the engine can't be used afterwards."""
        await self.drain()
        self._batcher.close()
        await self._isolated.close()

    def refusal(self, coming: int = 0) -> Overloaded | None:
        """Return why a picture would be refused behind others that come; None if it would not."""
        if not self.ready:
            return Draining(self._admission.retry_after)
        full = self._admission.room <= coming
        return Overloaded(self._admission.retry_after) if full else None

    async def predict(
        self, encoded: bytes, rule: Rule | None = None, patient: Patient = NOBODY
    ) -> Prediction:
        """Classify one encoded picture by a rule that the model has, its own when None.

        The rule and what is said of the patient are such as the model has and takes.

        Raises
        ------
        ProblemError
            When the picture can't be decoded; ``Overloaded`` when too many pictures wait,
            ``Draining`` when the engine starts or stops, ``DeadlineExceeded`` when there is no
            answer in ``Settings.deadline_seconds``.
        NetworkFailed
            When the network failed on the picture's batch.
        """
        try:
            return await self.attempt(encoded, rule, patient)
        except Overloaded as busy:
            self.refused(busy)
            raise

    async def attempt(
        self, encoded: bytes, rule: Rule | None = None, patient: Patient = NOBODY
    ) -> Prediction:
        """Do as ``predict`` for a caller that may ask again and calls ``refused`` if it does not.

        A picture that found no room counts as refused only then.
        """
        self._enter()
        result: Result | None = None
        start = perf_counter()
        try:
            async with asyncio.timeout(self._deadline) as deadline:
                result = await self._batcher.classify(encoded, rule, patient)
        except TimeoutError:
            if not deadline.expired():
                raise
        except asyncio.CancelledError:
            self._metrics.refused("gone")
            raise
        finally:
            self._admission.leave(answered=isinstance(result, Classified | Unread))
            self._metrics.waiting.set(self._admission.waiting)
            self._answered.set()
        # Raised here, where no other exception is under way that would be kept as its context.
        if not isinstance(result, Classified):
            raise self._error(result)
        waited = perf_counter() - start - result.decode_seconds - result.network_seconds
        self._metrics.timed(result.decode_seconds, waited, result.network_seconds)
        self._metrics.predicted(result.prediction)
        if record := CURRENT.get():
            record.pictures += 1
            record.largest_batch = max(record.largest_batch, result.batch)
        return result.prediction

    def refused(self, busy: Overloaded) -> None:
        """Count a picture whose answer is that there was no room for it."""
        self._metrics.refused("draining" if isinstance(busy, Draining) else "overloaded")

    def _error(self, result: Unread | Failed | Busy | None) -> Exception:
        error: Exception
        match result:
            case Busy():
                return Overloaded(ISOLATED_RETRY_SECONDS)
            case None:
                reason, error = "late", DeadlineExceeded()
            case Unread():
                reason, error = "unreadable", unreadable(*result)
            case Failed():
                reason, error = "failed", NetworkFailed(result.report)
        self._metrics.refused(reason)
        return error

    def _enter(self) -> None:
        record = CURRENT.get()
        if not self.ready and not (record and record.accepted):
            raise Draining(self._admission.retry_after)
        self._admission.enter()
        self._metrics.waiting.set(self._admission.waiting)

    def _counted(self, classify: Classify) -> Classify:
        def counted(pictures: Sequence[ReadPicture]) -> list[Prediction]:
            self._metrics.batch.observe(len(pictures))
            return classify(pictures)

        return counted
