"""The client for asyncio and trio."""

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TypeVar, overload

import anyio
import httpx

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
from doctor_derma.client.reading import read_as, without_errors
from doctor_derma.client.retries import Retries
from doctor_derma.client.transport import Collected, build, settings
from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import ImageSource, is_one_picture
from doctor_derma.inference.prediction import Prediction
from doctor_derma.proxies import proxy_of
from doctor_derma.server.schemas import CARD_PATH, MODEL_PATH, Provenance

T = TypeVar("T")


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
        self, images: ImageSource, rule: Rule | None = None
    ) -> Prediction: ...

    @overload
    async def predict(
        self, images: Iterable[ImageSource], rule: Rule | None = None
    ) -> list[Prediction]: ...

    async def predict(
        self, images: ImageSource | Iterable[ImageSource], rule: Rule | None = None
    ) -> Prediction | list[Prediction]:
        """Classify one picture, or several; see ``Client.predict``."""
        if is_one_picture(images):
            return await self._play(predict_one(encode(images), self._retries, rule))
        outcomes = [outcome async for outcome in self.predict_batch(images, rule)]  # type: ignore[arg-type]
        return without_errors(outcomes)

    async def predict_batch(
        self, images: Iterable[ImageSource], rule: Rule | None = None
    ) -> AsyncIterator[Outcome]:
        """Classify any number of pictures; see ``Client.predict_batch``."""
        for group in grouped(images):
            for outcome in await self._play(predict_group(group, self._retries, rule)):
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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
