"""The clients: one for programs that wait for their answers, one for asyncio and trio."""

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TypeVar, overload

import anyio
import httpx

from doctor_derma.client.answers import read_as, without_errors
from doctor_derma.client.exchange import (
    READY,
    Exchange,
    Outcome,
    Pause,
    Reply,
    Request,
    fetch,
    is_ready,
    predict_group,
    predict_one,
)
from doctor_derma.client.pictures import encode, grouped
from doctor_derma.client.transport import Collected, build, settings
from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import ImageSource, is_one_picture
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.proxies import Retries, proxy_of
from doctor_derma.server.schemas import CARD_PATH, MODEL_PATH, Provenance

T = TypeVar("T")


class Client:
    """Asks a server for predictions. Safe to use from several threads.

    Parameters
    ----------
    url : address of the server, such as ``http://localhost:5555``
    api_key : for a server that needs one
    timeout : seconds that the server may be silent before an attempt counts as failed
    retries : when to ask again; ``Retries(attempts=1)`` never does

    Raises
    ------
    DermaError
        When ``url`` is no address, ``api_key`` no key, or the proxy can't be used.

    Notes
    -----
    Every method raises ``ProblemError`` when the server refuses, ``Unreachable`` when it
    doesn't answer after all retries, and ``UnexpectedAnswer`` when it is another kind of server.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        chosen = settings(url, api_key)
        way = httpx.HTTPTransport(proxy=proxy_of(chosen["base_url"]))
        self._http = httpx.Client(**chosen, transport=way)
        self._timeout = timeout
        self._retries = retries or Retries()

    @overload  # A path is also an iterable of paths, but not meant as one.
    def predict(  # type: ignore[overload-overlap]
        self, images: ImageSource, rule: Rule | None = None, patient: Patient = NOBODY
    ) -> Prediction: ...

    @overload
    def predict(
        self, images: Iterable[ImageSource], rule: Rule | None = None, patient: Patient = NOBODY
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: ImageSource | Iterable[ImageSource],
        rule: Rule | None = None,
        patient: Patient = NOBODY,
    ) -> Prediction | list[Prediction]:
        """Classify one picture, or several.

        Parameters
        ----------
        images : one picture or several, each a path, the bytes of an encoded file, a PIL image
            or a uint8 RGB array of shape (height, width, 3)
        rule : by which they are called; the server's own when None
        patient : whom all the pictures show, where that is known and the server's model takes it

        Raises
        ------
        UnreadableImage, ProblemError
            When a picture can't be read here or there, see ``predict_batch`` for the others.
        """
        if is_one_picture(images):
            return self._play(predict_one(encode(images), self._retries, rule, patient))
        return without_errors(self.predict_batch(images, rule, patient))  # type: ignore[arg-type]

    def predict_batch(
        self, images: Iterable[ImageSource], rule: Rule | None = None, patient: Patient = NOBODY
    ) -> Iterator[Outcome]:
        """Classify any number of pictures, a few in memory at a time.

        Yields
        ------
        a Prediction for each picture in order, or the exception that says why it has none
        """
        for group in grouped(images):
            yield from self._play(predict_group(group, self._retries, rule, patient))

    def model(self) -> Provenance:
        """Return which model answers and where it comes from."""
        return read_as(Provenance, self._play(fetch(MODEL_PATH, self._retries)))

    def model_card(self) -> str:
        """Return the model card, Markdown."""
        return self._play(fetch(CARD_PATH, self._retries)).decode()

    def ready(self) -> bool:
        """Say whether the server takes pictures now; False also where nothing answers."""
        return is_ready(self._send(Request("GET", READY, self._timeout)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _play(self, exchange: Exchange[T]) -> T:
        reply = None
        while True:
            try:
                step = exchange.send(reply)
            except StopIteration as done:
                return done.value
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                reply = None
            else:
                reply = self._send(step)

    def _send(self, request: Request) -> Reply:
        collected = Collected(self._http.base_url, request.seconds)
        try:
            with self._http.stream(**build(request, self._timeout)) as response:
                collected.begin(response)
                for chunk in response.iter_bytes():
                    collected.add(chunk)
        except httpx.RequestError as error:
            return collected.reply(error)
        return collected.reply()


class AsyncClient:
    """Asks a server for predictions as ``Client`` does, without blocking an event loop.

    It takes the same arguments and raises the same exceptions.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        chosen = settings(url, api_key)
        way = httpx.AsyncHTTPTransport(proxy=proxy_of(chosen["base_url"]))
        self._http = httpx.AsyncClient(**chosen, transport=way)
        self._timeout = timeout
        self._retries = retries or Retries()

    @overload
    async def predict(  # type: ignore[overload-overlap]
        self, images: ImageSource, rule: Rule | None = None, patient: Patient = NOBODY
    ) -> Prediction: ...

    @overload
    async def predict(
        self, images: Iterable[ImageSource], rule: Rule | None = None, patient: Patient = NOBODY
    ) -> list[Prediction]: ...

    async def predict(
        self,
        images: ImageSource | Iterable[ImageSource],
        rule: Rule | None = None,
        patient: Patient = NOBODY,
    ) -> Prediction | list[Prediction]:
        """Classify one picture, or several; see ``Client.predict``."""
        if is_one_picture(images):
            return await self._play(predict_one(encode(images), self._retries, rule, patient))
        outcomes = [outcome async for outcome in self.predict_batch(images, rule, patient)]  # type: ignore[arg-type]
        return without_errors(outcomes)

    async def predict_batch(
        self, images: Iterable[ImageSource], rule: Rule | None = None, patient: Patient = NOBODY
    ) -> AsyncIterator[Outcome]:
        """Classify any number of pictures; see ``Client.predict_batch``."""
        for group in grouped(images):
            for outcome in await self._play(predict_group(group, self._retries, rule, patient)):
                yield outcome

    async def model(self) -> Provenance:
        """Return which model answers and where it comes from."""
        return read_as(Provenance, await self._play(fetch(MODEL_PATH, self._retries)))

    async def model_card(self) -> str:
        """Return the model card, Markdown."""
        return (await self._play(fetch(CARD_PATH, self._retries))).decode()

    async def ready(self) -> bool:
        """Say whether the server takes pictures now; False also where nothing answers."""
        return is_ready(await self._send(Request("GET", READY, self._timeout)))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _play(self, exchange: Exchange[T]) -> T:
        reply = None
        while True:
            try:
                step = exchange.send(reply)
            except StopIteration as done:
                return done.value
            if isinstance(step, Pause):
                await anyio.sleep(step.seconds)
                reply = None
            else:
                reply = await self._send(step)

    async def _send(self, request: Request) -> Reply:
        collected = Collected(self._http.base_url, request.seconds)
        try:
            async with self._http.stream(**build(request, self._timeout)) as response:
                collected.begin(response)
                async for chunk in response.aiter_bytes():
                    collected.add(chunk)
        except httpx.RequestError as error:
            return collected.reply(error)
        return collected.reply()
