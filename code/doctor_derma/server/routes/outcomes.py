"""Many pictures through the engine, a few at a time, as fast as it takes them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import NamedTuple

from doctor_derma.decisions import Rule
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.admission import Draining, Overloaded
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.problems import EXPECTED_ERRORS, ProblemError, to_problem_error
from doctor_derma.server.routes.form import Upload
from doctor_derma.server.routes.memory import Share
from doctor_derma.server.settings import Settings

# A request with many pictures is in no hurry: it waits this long for a busy engine.
PATIENCE_SECONDS = 10.0
MAX_AHEAD_BYTES = 20_000_000


class Outcome(NamedTuple):
    """What became of a picture, by its place among those that were sent."""

    place: int
    result: Prediction | ProblemError


class _Window:
    """How many pictures, and bytes of them, are in the engine's hands at a time."""

    def __init__(self, pictures: int) -> None:
        self._free = asyncio.Condition()
        self._most = pictures
        self._pictures = 0
        self._bytes = 0

    async def enter(self, size: int) -> None:
        async with self._free:
            await self._free.wait_for(lambda: self._fits(size))
            self._pictures += 1
            self._bytes += size

    async def leave(self, size: int) -> None:
        async with self._free:
            self._pictures -= 1
            self._bytes -= size
            self._free.notify_all()

    def _fits(self, size: int) -> bool:
        # One picture always may, so that none waits for ever.
        return self._pictures == 0 or (
            self._pictures < self._most and self._bytes + size <= MAX_AHEAD_BYTES
        )


async def classify_uploads(
    engine: Engine,
    uploads: AsyncIterator[Upload],
    share: Share,
    ahead: int,
    rule: Rule | None = None,
) -> AsyncGenerator[Outcome, None]:
    """Yield the outcome of every upload, in their order.

    The next upload is read only when the engine has taken on the earlier ones, whether or not
    anybody reads the outcomes: a client may send everything before it reads anything.

    Parameters
    ----------
    ahead : pictures in the engine's hands at a time; also never over ``MAX_AHEAD_BYTES``
    rule : by which the pictures are called; the model's own when None

    Raises
    ------
    ProblemError
        After the outcomes of the uploads before it, when the next can't be read.
    """
    running: asyncio.Queue[asyncio.Task[Outcome] | None] = asyncio.Queue()
    started: set[asyncio.Task[Outcome]] = set()
    window = _Window(ahead)

    async def start_all() -> None:
        try:
            index = 0
            async for upload in uploads:
                size = len(upload.picture) if isinstance(upload.picture, bytes) else 0
                await window.enter(size)
                task = asyncio.create_task(classify(index, upload, size))
                started.add(task)
                running.put_nowait(task)
                index += 1
        finally:
            running.put_nowait(None)

    async def classify(index: int, upload: Upload, size: int) -> Outcome:
        try:
            return Outcome(index, await _result(engine, upload.picture, rule))
        finally:
            share.give(size)
            await window.leave(size)

    reader = asyncio.create_task(start_all())
    try:
        while (task := await running.get()) is not None:
            yield await task
            started.discard(task)
        await reader
    finally:
        reader.cancel()
        for left in started:
            left.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(reader, *started, return_exceptions=True)


async def _result(
    engine: Engine, picture: bytes | ProblemError, rule: Rule | None
) -> Prediction | ProblemError:
    if isinstance(picture, ProblemError):
        return picture
    clock = asyncio.get_running_loop().time
    end = clock() + PATIENCE_SECONDS
    while True:
        try:
            return await engine.predict(picture, rule)
        except Overloaded as busy:
            wait = busy.retry_after
            if isinstance(busy, Draining) or clock() + wait > end:
                return to_problem_error(busy)
            await asyncio.sleep(wait)
        except EXPECTED_ERRORS as error:
            return to_problem_error(error)


def pictures_ahead(settings: Settings) -> int:
    """Return how many pictures of one request may be in the engine's hands at a time.

    Enough for a full batch in the network and the next behind it, but never the whole queue,
    so that other requests find room in it.
    """
    return max(1, min(2 * settings.max_batch, settings.queue_limit // 2))
