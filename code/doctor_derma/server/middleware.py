"""What every request passes before it is routed, as ``add_middleware`` of ``app`` orders it, and
how every error becomes problem details."""

import asyncio
import logging
import re
from time import perf_counter

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from doctor_derma.server.logs import CURRENT, RequestRecord, log_request, new_request_id
from doctor_derma.server.metrics import METRICS_PATH, UNKNOWN_ROUTE, Metrics
from doctor_derma.server.problems import (
    FAILED,
    INVALID,
    NOT_FOUND,
    WRONG_METHOD,
    ProblemError,
    problem_response,
)
from doctor_derma.server.shedding import Shedding

# Asked every few seconds by machines.
HEALTH_PATHS = frozenset({METRICS_PATH, "/healthz", "/readyz"})
ID_HEADER = "X-Request-ID"
# Nobody is there to read an answer; the number is nginx's.
CLIENT_GONE = 499
# A client's own id goes into the log as it is, so it may hold nothing that could mislead there.
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# A parameter of RFC 7239 and what ends it: a comma, where the next proxy's word begins.
_FORWARDED = re.compile(
    r"[ \t]*(?:(?P<name>[\w!#$%&'*+.^`|~-]+)="
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s",;]+)))?[ \t]*(?P<end>[,;]|$)',
    re.ASCII,
)
_log = logging.getLogger(__name__)


def read_forwarded(app: ASGIApp) -> ASGIApp:
    """Have ``Forwarded`` (RFC 7239) read as ``X-Forwarded-For``, which uvicorn's middleware behind
    this believes of trusted proxies.

    A proxy writes one of the two and may pass on the other as a stranger has sent it. Where both
    are there and differ, or ``Forwarded`` can't be read, neither is believed, and the client is the
    proxy.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "forwarded" in (headers := Headers(scope=scope)):
            clients = forwarded_for(", ".join(headers.getlist("forwarded")))
            others = ", ".join(headers.getlist("x-forwarded-for"))
            kept = [pair for pair in scope["headers"] if pair[0] != b"x-forwarded-for"]
            if clients and (not others or re.split(r"[ \t]*,[ \t]*", others) == clients):
                kept.append((b"x-forwarded-for", ", ".join(clients).encode("latin-1")))
            scope = {**scope, "headers": kept}
        await app(scope, receive, send)

    return answer


def forwarded_for(value: str) -> list[str]:
    """Return the clients that a ``Forwarded`` header names, the last by the nearest proxy.

    Empty where the header is malformed or a proxy of the chain names none.

    Examples
    --------
    >>> forwarded_for('for=192.0.2.60;proto=https, for="[2001:db8::1]"')
    ['192.0.2.60', '2001:db8::1']
    """
    clients, named, at = [], "", 0
    while found := _FORWARDED.match(value, at):
        if (found["name"] or "").lower() == "for":
            named = found["plain"] or re.sub(r"\\(.)", r"\1", found["quoted"] or "")
        at = found.end()
        if found["end"] != ";":
            clients.append(named.strip("[]") if named.endswith("]") else named)
            named = ""
        if not found["end"]:
            # What holds a comma would count as two.
            return clients if all(clients) and "," not in "".join(clients) else []
    return []


def log_requests(app: ASGIApp, metrics: Metrics, log_clients: bool) -> ASGIApp:
    """Identify, time, count and log requests; with clients' addresses, if ``log_clients``."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        given = Headers(scope=scope).get(ID_HEADER, "")
        # As it was sent: an escaped slash divides nothing.
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        record = RequestRecord(given if _SANE.fullmatch(given) else new_request_id(), path)
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
            await app(scope, receive, send_with_id)
        finally:
            note(scope, record, status, perf_counter() - start)

    def note(scope: Scope, record: RequestRecord, status: int, seconds: float) -> None:
        # What clients write into paths is their own affair, and endless.
        # A mounted folder is no route, but leaves its own path behind.
        route = getattr(scope.get("route"), "path", None) or scope.get("root_path") or UNKNOWN_ROUTE
        metrics.requested(route, scope["method"], status, seconds)
        if route in HEALTH_PATHS and status < 400:
            return
        fields = {
            "method": scope["method"],
            "path": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
            "pictures": record.pictures,
            "batch": record.largest_batch,
        }
        if log_clients and (client := scope.get("client")):
            fields["client"] = client[0]
        log_request(logging.ERROR if status == 500 else logging.INFO, **fields)

    return answer


def only_health_at(app: ASGIApp, port: int) -> ASGIApp:
    """Answer nothing but health, and 404 for anything else, at a port that is for health alone."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked = (scope.get("server") or (None, None))[1]
        if scope["type"] == "http" and asked == port and scope["path"] not in HEALTH_PATHS:
            detail = f"This port has only {', '.join(sorted(HEALTH_PATHS))}."
            refusal = ProblemError(NOT_FOUND, detail, {"Connection": "close"})
            await problem_response(refusal)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer


def shed_load(app: ASGIApp, shedding: Shedding) -> ASGIApp:
    """Refuse requests with pictures before anything of them is read, where there is no room.

    An overloaded server that first receives, parses and routes what it then refuses spends
    itself on refusals: at ten times its capacity little would be left for answers.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # Pictures come with POST only; pages and health are always answered.
        if scope.get("method") != "POST":
            await app(scope, receive, send)
            return
        client = (scope.get("client") or ("",))[0]
        if refusal := shedding.refusal(scope["path"], client):
            await problem_response(refusal)(scope, receive, send)
            return
        if record := CURRENT.get():
            record.accepted = True

        async def send_and_close(message: Message) -> None:
            # A client that keeps its connection would send its next request to a server that stops.
            if message["type"] == "http.response.start" and shedding.draining:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        with shedding.under_way(client):
            await app(scope, receive, send_and_close)

    return answer


def cancel_on_disconnect(app: ASGIApp) -> ASGIApp:
    """Cancel a request with pictures whose client closes the connection before it is answered.

    Nobody reads the answer, and under overload, when clients lose patience, the server would
    be busy with nothing else.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST":
            await app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        disconnect: asyncio.Task[Message] | None = None
        gone = False

        def cancel(done: asyncio.Task[Message]) -> None:
            nonlocal gone
            if not done.cancelled():
                gone = True
                task.cancel()

        async def receive_and_watch() -> Message:
            nonlocal disconnect
            if disconnect is not None:
                return await asyncio.shield(disconnect)
            message = await receive()
            # Nothing but the client's disconnection can follow the end of the body.
            if message["type"] == "http.request" and not message.get("more_body", False):
                disconnect = asyncio.create_task(receive())  # type: ignore[arg-type]
                disconnect.add_done_callback(cancel)
            return message

        async def send_and_look(message: Message) -> None:
            # From the end of the answer on, "disconnect" only means that it is over.
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if ends and disconnect is not None:
                disconnect.cancel()
            await send(message)

        try:
            await app(scope, receive_and_watch, send_and_look)
        except asyncio.CancelledError:
            if not gone:
                raise
            task.uncancel()
        finally:
            if disconnect is not None:
                disconnect.cancel()

    return answer


def head_as_get(app: ASGIApp) -> ASGIApp:
    """Have every page answer HEAD as it answers GET (RFC 9110, 9.3.2).

    The HTTP server, which still knows what was asked, leaves out the body.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "HEAD":
            await app(scope, receive, send)
            return
        get = {**scope, "method": "GET"}
        await app(get, receive, send)
        # For the log and the metrics.
        scope.update({name: get[name] for name in ("route", "root_path") if name in get})

    return answer


def answer_errors(app: FastAPI) -> None:
    """Make an application answer every error with a problem.

    Call it before other middleware is added, so that the answer to a crash passes through
    all of that.
    """
    app.add_middleware(_answer_crashes)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_parameter)


def _answer_crashes(app: ASGIApp) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, send_and_note)
        except Exception:
            if started or scope["type"] != "http":
                raise  # Half an answer is out, and the server cuts the connection.
            _log.exception("a request failed")
            error = ProblemError(FAILED, "The server has failed; its log says why.")
            await problem_response(error)(scope, receive, send)

    return answer


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer with the problem, or with one made of what Starlette raises by itself."""
    assert isinstance(error, HTTPException)
    if not isinstance(error, ProblemError):
        if error.status_code == 404:
            detail = "There is nothing at this address; see /docs for those that there are."
            error = ProblemError(NOT_FOUND, detail)
        elif error.status_code == 405:
            headers = dict(error.headers or {})
            allowed = headers.get("Allow", "another method")
            detail = f"{request.method} is not possible here, but {allowed} is."
            error = ProblemError(WRONG_METHOD, detail, headers)
    return problem_response(error)


async def _invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    return problem_response(ProblemError(INVALID, f"{where}: {first['msg']}."))
