"""Every request gets an id, a line in the log and its place in the figures."""

import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from doctor_derma.server.logs import log_request
from doctor_derma.server.metrics import METRICS_PATH, Metrics
from doctor_derma.server.request import CURRENT, RequestRecord

ID_HEADER = "X-Request-ID"
# A client's own id goes into the log as it is, so it may hold nothing that could mislead there.
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Asked every few seconds by machines.
QUIET = frozenset({METRICS_PATH, "/healthz", "/readyz"})
UNKNOWN_ROUTE = "unknown"
# Nobody is there to read an answer; the number is nginx's.
CLIENT_GONE = 499


class Access:
    """ASGI middleware, the outermost, that identifies, times, counts and logs requests.

    Parameters
    ----------
    metrics : is told of every request
    log_clients : whether the log names clients' addresses
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log_clients: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log_clients = log_clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(_request_id(scope), _path(scope))
        CURRENT.set(record)
        status = CLIENT_GONE

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[ID_HEADER] = record.id
            await send(message)

        start = perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._note(scope, record, status, perf_counter() - start)

    def _note(self, scope: Scope, record: RequestRecord, status: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"]
        self._metrics.requested(route, method, status, seconds)
        if route in QUIET and status < 400:
            return
        fields = {
            "method": method,
            "path": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
            "pictures": record.pictures,
            "batch": record.largest_batch,
        }
        if self._log_clients and (client := scope.get("client")):
            fields["client"] = client[0]
        log_request(logging.ERROR if status == 500 else logging.INFO, **fields)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(ID_HEADER, "")
    return given if _SANE.fullmatch(given) else uuid4().hex


def _path(scope: Scope) -> str:
    # As it was sent: an escaped slash divides nothing.
    return (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")


def _route(scope: Scope) -> str:
    # What clients write into paths is their own affair, and endless.
    # A mounted folder is no route, but leaves its own path behind.
    return getattr(scope.get("route"), "path", None) or scope.get("root_path") or UNKNOWN_ROUTE
