"""Turns every error into problem details, unexpected ones too."""

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from doctor_derma.server.problems import (
    EXPECTED_ERRORS,
    FAILED,
    INVALID,
    NOT_FOUND,
    WRONG_METHOD,
    ProblemError,
    problem_response,
    to_problem_error,
)

_log = logging.getLogger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Make an application answer every error with a problem.

    Call it before other middleware is added, so that the answer to a crash passes through
    all of that.
    """
    app.add_middleware(CrashHandler)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_parameter)
    for expected in EXPECTED_ERRORS:
        app.add_exception_handler(expected, _expected_error)


class CrashHandler:
    """ASGI middleware that answers an unexpected error with a problem, and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer 500 where that raises before an answer has begun."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            if started or scope["type"] != "http":
                raise  # Half an answer is out, and the server cuts the connection.
            _log.exception("a request failed")
            error = ProblemError(FAILED, "The server has failed; its log says why.")
            await problem_response(error)(scope, receive, send)


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


async def _expected_error(request: Request, error: Exception) -> Response:
    return problem_response(to_problem_error(error))
