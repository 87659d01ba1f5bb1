"""Work for clients that have gone is given up."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Departures:
    """ASGI middleware that cancels a request whose client closes the connection.

    Nobody reads the answer, and under overload, when clients lose patience, the server would
    be busy with nothing else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        departure: asyncio.Task[Message] | None = None
        left = False

        def cancel(done: asyncio.Task[Message]) -> None:
            nonlocal left
            if not done.cancelled():
                left = True
                task.cancel()

        async def receive_and_watch() -> Message:
            nonlocal departure
            if departure is not None:
                return await asyncio.shield(departure)
            message = await receive()
            # Nothing but the client's departure can follow the end of the body.
            if message["type"] == "http.request" and not message.get("more_body", False):
                departure = asyncio.create_task(receive())  # type: ignore[arg-type]
                departure.add_done_callback(cancel)
            return message

        async def send_and_look(message: Message) -> None:
            # From the end of the answer on, "disconnect" only means that it is over.
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if ends and departure is not None:
                departure.cancel()
            await send(message)

        try:
            await self._app(scope, receive_and_watch, send_and_look)
        except asyncio.CancelledError:
            if not left:
                raise
            task.uncancel()
        finally:
            if departure is not None:
                departure.cancel()
