"""``HEAD`` is ``GET`` without a body."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Head:
    """ASGI middleware that has every page answer HEAD as it answers GET (RFC 9110, 9.3.2).

    The HTTP server, which still knows what was asked, leaves out the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
