"""Answers about the pictures of a request, in the order in which they were uploaded."""

import asyncio
import base64
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from math import inf
from typing import NamedTuple

import numpy as np
from anyio import to_thread
from PIL import Image

from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import Rule
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.engine import Draining, Engine, Overloaded
from doctor_derma.server.problems import ProblemError, problem_of
from doctor_derma.server.schemas import Answer, Item, MapFormat, full_answer
from doctor_derma.server.settings import Settings
from doctor_derma.server.upload_memory import Reservation
from doctor_derma.server.uploads import Upload

# A request with many pictures can wait this long for a busy engine.
MAX_WAIT_SECONDS = 10.0
# Viridis (Smith and van der Walt, 2015) at five places, as on the upload page; colour-blind
# people can read it, and it stays in order when printed in grey.
VIRIDIS = np.array(
    [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float32
)


class Asked(NamedTuple):
    """What a request wants of its pictures.

    Attributes
    ----------
    map_format : of the activation maps
    rule : by which the pictures are called; the model's own when None
    patient : whom all the pictures show
    """

    map_format: MapFormat = "none"
    rule: Rule | None = None
    patient: Patient = NOBODY


async def answer_picture(prediction: Prediction, info: BundleInfo, map_format: MapFormat) -> Answer:
    """Return the answer for a prediction, with its activation map in the requested format."""
    answer = full_answer(prediction, info)
    if map_format == "grid":
        answer.activation_map = prediction.activation_map.tolist()
    elif map_format == "png":
        size = info.input
        png = await to_thread.run_sync(draw_map, prediction.activation_map, size.height, size.width)
        answer.activation_map_png = base64.b64encode(png).decode()
    return answer


def draw_map(activation_map: np.ndarray, height: int, width: int) -> bytes:
    """Draw a map as the bytes of a PNG, its least value dark blue and its greatest yellow.

    ``activation_map`` is float32 of shape (h, w). Between the centres of its cells, values at
    ``height`` times ``width`` pixels are bilinear.
    """
    smooth = Image.fromarray(activation_map.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    values = np.asarray(smooth)
    low, span = values.min(), np.ptp(values)
    levels = (values - low) / span if span > 0 else np.zeros_like(values)
    stops = np.linspace(0, 1, len(VIRIDIS))
    colours = [np.interp(levels, stops, VIRIDIS[:, channel]) for channel in range(3)]
    stream = io.BytesIO()
    Image.fromarray(np.stack(colours, axis=-1).round().astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def pictures_ahead(settings: Settings) -> int:
    """Return how many pictures of one request the engine may work on at a time.

    Enough for full batches under way and the next behind them, but never the whole queue,
    so that other requests find room in it.
    """
    return max(1, min(4 * settings.max_batch, settings.queue_limit // 2))


async def answer_uploads(
    engine: Engine,
    info: BundleInfo,
    uploads: AsyncIterator[Upload],
    reservation: Reservation,
    asked: Asked,
    ahead: int,
    ahead_bytes: float = inf,
) -> AsyncGenerator[Item, None]:
    """Yield the answer to every upload, or its problem, in their order.

    The next upload is read only when the engine has room for it, whether or not the client reads
    the answers: it may send everything before it reads anything. When it can't be read, that raises
    ``ProblemError`` after the answers to those before it.

    Parameters
    ----------
    reservation : to which the bytes of each picture are given back when it is classified
    ahead : pictures that the engine works on at a time
    ahead_bytes : of these; while they are more, no further upload is read
    """
    running: asyncio.Queue[asyncio.Task[Prediction | ProblemError] | None] = asyncio.Queue()
    started: set[asyncio.Task[Prediction | ProblemError]] = set()
    in_flight = _InFlight(ahead, ahead_bytes)

    async def start_all() -> None:
        try:
            async for upload in uploads:
                size = len(upload.picture) if isinstance(upload.picture, bytes) else 0
                in_flight.enter(size)
                task = asyncio.create_task(classify(upload.picture, size))
                started.add(task)
                running.put_nowait(task)
                await in_flight.room()
        finally:
            running.put_nowait(None)

    async def classify(picture: bytes | ProblemError, size: int) -> Prediction | ProblemError:
        try:
            if isinstance(picture, ProblemError):
                return picture
            return await _predict(engine, picture, asked, in_flight)
        finally:
            reservation.give_back(size)
            in_flight.leave(size)

    reader = asyncio.create_task(start_all())
    index = 0
    try:
        while (task := await running.get()) is not None:
            result = await task
            started.discard(task)
            if isinstance(result, ProblemError):
                yield Item(index=index, answer=None, problem=problem_of(result))
            else:
                answer = await answer_picture(result, info, asked.map_format)
                yield Item(index=index, answer=answer, problem=None)
            index += 1
        await reader
    finally:
        reader.cancel()
        for left in started:
            left.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(reader, *started, return_exceptions=True)


async def _predict(
    engine: Engine, picture: bytes, asked: Asked, in_flight: "_InFlight"
) -> Prediction | ProblemError:
    clock = asyncio.get_running_loop().time
    end = clock() + MAX_WAIT_SECONDS
    while True:
        try:
            return await engine.attempt(picture, asked.rule, asked.patient)
        except Overloaded as busy:
            wait = busy.retry_after
            if isinstance(busy, Draining) or clock() + wait > end:
                engine.refused(busy)
                return busy.with_traceback(None)
            await in_flight.wait(wait)
        except ProblemError as error:
            # Its traceback would keep the picture for as long as those before it take.
            return error.with_traceback(None)


class _InFlight:
    """The pictures of one request that the engine works on, and when it may take the next."""

    def __init__(self, most: int, most_bytes: float) -> None:
        self._left = asyncio.Event()
        self._most = most
        self._most_bytes = most_bytes
        self._pictures = 0
        self._bytes = 0
        self._waiting = 0

    def enter(self, size: int) -> None:
        self._pictures += 1
        self._bytes += size

    def leave(self, size: int) -> None:
        self._pictures -= 1
        self._bytes -= size
        self._left.set()

    async def wait(self, seconds: float) -> None:
        """Let time pass for a picture that found no room, and let no other overtake it."""
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1

    async def room(self) -> None:
        """Wait until the engine may take the next picture."""
        while not self._has_room():
            self._left.clear()
            await self._left.wait()

    def _has_room(self) -> bool:
        # One picture always may, so that none waits for ever.
        return self._pictures == 0 or (
            self._pictures < self._most and self._bytes <= self._most_bytes and not self._waiting
        )
