"""The engine: admission, batching, deadlines, and a shutdown that loses nothing."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import UnreadableImage
from doctor_derma.inference.classifier import Classifier, ReadPicture
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.admission import (
    Admission,
    DeadlineExceeded,
    Draining,
    NetworkFailed,
    Overloaded,
)
from doctor_derma.server.engine.batching import Batcher
from doctor_derma.server.engine.decoding import IsolatedDecoder, Unread
from doctor_derma.server.engine.jobs import Busy, Classified, Classify, Failed, Result
from doctor_derma.server.logs import CURRENT
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.settings import Settings

# In which one of the large pictures that wait should be decoded.
ISOLATED_RETRY_SECONDS = 2


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
        """Load a bundle for so many processors; the others are as for ``Classifier.load``.

        Raises
        ------
        DermaError
            See ``Classifier.load``.
        """
        load = partial(Classifier.load, bundle, rule=rule, providers=providers)
        alone = load(threads=cpus)
        return cls(alone, load(threads=1) if cpus > 1 else alone, cpus + 1)


class Engine:
    """Classifies encoded pictures for many requests at once.

    Parameters
    ----------
    classifiers : the loaded bundle
    settings : limits, see ``Settings``
    metrics : is told of everything that happens
    """

    def __init__(self, classifiers: Classifiers, settings: Settings, metrics: Metrics) -> None:
        self.ready = False
        self._admission = Admission(settings.queue_limit)
        size = classifiers.alone.info.input
        self._isolated = IsolatedDecoder(size.height, size.width)
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
        UnreadableImage
            When the picture can't be decoded.
        Overloaded
            When too many pictures wait; ``Draining`` when the engine starts or stops.
        DeadlineExceeded
            When there is no answer in ``Settings.deadline_seconds``.
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
            self._leave(answered=isinstance(result, Classified | Unread))
        # Raised here, where no other exception is under way that would be kept as its context.
        if not isinstance(result, Classified):
            raise self._error(result)
        waited = perf_counter() - start - result.decode_seconds - result.network_seconds
        self._metrics.timed(result.decode_seconds, waited, result.network_seconds)
        self._metrics.predicted(result.prediction)
        if record := CURRENT.get():
            record.add_picture(result.batch)
        return result.prediction

    def refused(self, busy: Overloaded) -> None:
        """Count a picture whose answer is that there was no room for it."""
        self._metrics.refused("draining" if isinstance(busy, Draining) else "overloaded")

    def _error(self, result: Unread | Failed | Busy | None) -> Exception:
        if isinstance(result, Busy):
            return Overloaded(ISOLATED_RETRY_SECONDS)
        error: Exception
        match result:
            case None:
                reason, error = "late", DeadlineExceeded(f"no answer in {self._deadline:g} s")
            case Unread():
                reason, error = "unreadable", UnreadableImage(result.reason, result.kind)
            case Failed():
                reason, error = "failed", NetworkFailed(result.report)
        self._metrics.refused(reason)
        return error

    def _enter(self) -> None:
        record = CURRENT.get()
        if not self.ready and not (record and record.accepted):
            raise Draining(self._admission.retry_after)
        self._admission.enter()
        self._metrics.waiting(self._admission.waiting)

    def _leave(self, answered: bool) -> None:
        self._admission.leave(answered)
        self._metrics.waiting(self._admission.waiting)
        self._answered.set()

    def _counted(self, classify: Classify) -> Classify:
        def counted(pictures: Sequence[ReadPicture]) -> list[Prediction]:
            self._metrics.ran(len(pictures))
            return classify(pictures)

        return counted
