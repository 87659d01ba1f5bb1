"""The clients: one for programs that wait for their answers, one for asyncio and trio."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar, overload

import anyio
import httpx

from doctor_derma._version import __version__
from doctor_derma.client.answers import read_as, without_errors
from doctor_derma.client.exchange import (
    Exchange,
    Outcome,
    Reply,
    Request,
    fetch,
    predict_many,
    predict_one,
    query_of,
)
from doctor_derma.client.pictures import encode, grouped
from doctor_derma.decisions import Rule
from doctor_derma.errors import DermaError
from doctor_derma.images.decoding import ImageSource, is_one_picture
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.proxies import Retries, proxy_of
from doctor_derma.server.schemas import CARD_PATH, MODEL_PATH, Provenance
from doctor_derma.server.settings import clean_key

READY = "/readyz"
_EXAMPLE = "http://localhost:5555"
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
        self._http = httpx.Client(**_settings(url, api_key, httpx.HTTPTransport))
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
            return self._play(predict_one(encode(images), self._retries, query_of(rule, patient)))
        return without_errors(self.predict_batch(images, rule, patient))  # type: ignore[arg-type]

    def predict_batch(
        self, images: Iterable[ImageSource], rule: Rule | None = None, patient: Patient = NOBODY
    ) -> Iterator[Outcome]:
        """Classify any number of pictures, a few in memory at a time.

        Yields
        ------
        a Prediction for each picture in order, or the exception that says why it has none
        """
        query = query_of(rule, patient)
        for group in grouped(images):
            yield from self._play(predict_many(group, self._retries, query))

    def model(self) -> Provenance:
        """Return which model answers and where it comes from."""
        return read_as(Provenance, self._play(fetch(MODEL_PATH, self._retries)))

    def model_card(self) -> str:
        """Return the model card, Markdown."""
        return self._play(fetch(CARD_PATH, self._retries)).decode()

    def ready(self) -> bool:
        """Say whether the server takes pictures now; False also where nothing answers."""
        return self._send(Request(READY, self._timeout)).status == 200

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _play(self, exchange: Exchange[T]) -> T:
        try:
            request = next(exchange)
            while True:
                time.sleep(request.wait)
                request = exchange.send(self._send(request))
        except StopIteration as done:
            return done.value

    def _send(self, request: Request) -> Reply:
        reply, end = Reply(), time.monotonic() + request.seconds
        try:
            with self._http.stream(**_sent(request, self._timeout)) as response:
                reply.begin(response)
                for chunk in response.iter_bytes():
                    reply.add(chunk, end)
        except httpx.RequestError as error:
            reply.break_off(self._http.base_url, error)
        return reply


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
        self._http = httpx.AsyncClient(**_settings(url, api_key, httpx.AsyncHTTPTransport))
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
            query = query_of(rule, patient)
            return await self._play(predict_one(encode(images), self._retries, query))
        outcomes = [outcome async for outcome in self.predict_batch(images, rule, patient)]  # type: ignore[arg-type]
        return without_errors(outcomes)

    async def predict_batch(
        self, images: Iterable[ImageSource], rule: Rule | None = None, patient: Patient = NOBODY
    ) -> AsyncIterator[Outcome]:
        """Classify any number of pictures; see ``Client.predict_batch``."""
        query = query_of(rule, patient)
        for group in grouped(images):
            for outcome in await self._play(predict_many(group, self._retries, query)):
                yield outcome

    async def model(self) -> Provenance:
        """Return which model answers and where it comes from."""
        return read_as(Provenance, await self._play(fetch(MODEL_PATH, self._retries)))

    async def model_card(self) -> str:
        """Return the model card, Markdown."""
        return (await self._play(fetch(CARD_PATH, self._retries))).decode()

    async def ready(self) -> bool:
        """Say whether the server takes pictures now; False also where nothing answers."""
        return (await self._send(Request(READY, self._timeout))).status == 200

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _play(self, exchange: Exchange[T]) -> T:
        try:
            request = next(exchange)
            while True:
                await anyio.sleep(request.wait)
                request = exchange.send(await self._send(request))
        except StopIteration as done:
            return done.value

    async def _send(self, request: Request) -> Reply:
        reply, end = Reply(), time.monotonic() + request.seconds
        try:
            async with self._http.stream(**_sent(request, self._timeout)) as response:
                reply.begin(response)
                async for chunk in response.aiter_bytes():
                    reply.add(chunk, end)
        except httpx.RequestError as error:
            reply.break_off(self._http.base_url, error)
        return reply


def _settings(url: str, api_key: str | None, way: Callable[..., Any]) -> dict[str, Any]:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise DermaError(f"{url}: no address ({error}); give one such as {_EXAMPLE}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise DermaError(f"{url}: no address of a server; give one such as {_EXAMPLE}")
    headers = {"User-Agent": f"doctor-derma/{__version__}"}
    if api_key is not None:
        try:
            headers["Authorization"] = f"Bearer {clean_key(api_key)}"
        except ValueError as error:
            raise DermaError(f"API key: {error}; copy it anew, or give none") from error
    return {"base_url": address, "headers": headers, "transport": way(proxy=proxy_of(address))}


def _sent(request: Request, timeout: float) -> dict[str, Any]:
    """Return a request as arguments of httpx."""
    files = [
        # The server decides by the bytes, and the pictures' own names stay here.
        (field, ("picture", picture, "application/octet-stream"))
        for field, pictures in request.pictures.items()
        for picture in pictures
    ]
    return {
        "method": "POST" if files else "GET",
        "url": request.path,
        "files": files or None,
        "timeout": min(timeout, request.seconds),
    }
