"""The engine: admission, batching, deadlines, and an end without loss."""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import UnreadableImage
from doctor_derma.inference.classifier import ReadPicture
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.admission import (
    Admission,
    DeadlineExceeded,
    Draining,
    NetworkFailed,
    Overloaded,
)
from doctor_derma.server.engine.batching import Batcher
from doctor_derma.server.engine.classifiers import Classifiers
from doctor_derma.server.engine.job import Busy, Classified, Failed, Result, Unread
from doctor_derma.server.engine.work import Classify
from doctor_derma.server.helper.process import Helper
from doctor_derma.server.logs import CURRENT
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.settings import Settings

# Until one of the large pictures that wait is decoded.
APART_RETRY_SECONDS = 2


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
        self._helper = Helper(size.height, size.width)
        self._batcher = Batcher(
            classifiers.alone.read,
            self._counted(classifiers.alone.classify),
            self._counted(classifiers.batched.classify),
            settings.max_batch,
            classifiers.runs,
            self._helper.decode,
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
        """Drain, and let go of the threads; the engine can't be used after it."""
        await self.drain()
        self._batcher.close()
        await self._helper.close()

    def refusal(self) -> Overloaded | None:
        """Return why a picture would be refused if it came now; None if it would not."""
        if not self.ready:
            return Draining(self._admission.retry_after)
        return Overloaded(self._admission.retry_after) if self._admission.full else None

    async def predict(self, encoded: bytes, rule: Rule | None = None) -> Prediction:
        """Classify one encoded picture by a rule that the model has, its own when None.

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
        self._enter()
        result: Result | None = None
        try:
            async with asyncio.timeout(self._deadline) as deadline:
                result = await self._classify(encoded, rule)
        except TimeoutError:
            if not deadline.expired():
                raise
        except asyncio.CancelledError:
            self._metrics.refused("gone")
            raise
        finally:
            self._leave(answered=isinstance(result, Classified | Unread))
        return self._told(result)

    def _told(self, result: Result | None) -> Prediction:
        # Raised here, where no other exception is under way that would be kept as its context.
        match result:
            case None:
                self._metrics.refused("late")
                raise DeadlineExceeded(f"no answer in {self._deadline:g} s")
            case Unread(reason, kind):
                self._metrics.refused("unreadable")
                raise UnreadableImage(reason, kind)
            case Busy():
                self._metrics.refused("overloaded")
                raise Overloaded(APART_RETRY_SECONDS)
            case Failed(report):
                self._metrics.refused("failed")
                raise NetworkFailed(report)
            case classified:
                return self._predicted(classified)

    def _predicted(self, classified: Classified) -> Prediction:
        self._metrics.predicted(classified.prediction)
        if record := CURRENT.get():
            record.add_picture(classified.batch)
        return classified.prediction

    def _enter(self) -> None:
        record = CURRENT.get()
        if not self.ready and not (record and record.accepted):
            self._metrics.refused("draining")
            raise Draining(self._admission.retry_after)
        try:
            self._admission.enter()
        except Overloaded:
            self._metrics.refused("overloaded")
            raise
        self._metrics.waiting(self._admission.waiting)

    def _leave(self, answered: bool) -> None:
        self._admission.leave(answered)
        self._metrics.waiting(self._admission.waiting)
        self._answered.set()

    async def _classify(self, encoded: bytes, rule: Rule | None) -> Result:
        start = perf_counter()
        result = await self._batcher.classify(encoded, rule)
        if isinstance(result, Classified):
            decoding, network = result.decode_seconds, result.network_seconds
            waited = perf_counter() - start - decoding - network
            self._metrics.timed(decoding, waited, network)
        return result

    def _counted(self, classify: Classify) -> Classify:
        def counted(pictures: Sequence[ReadPicture]) -> list[Prediction]:
            self._metrics.ran(len(pictures))
            return classify(pictures)

        return counted
