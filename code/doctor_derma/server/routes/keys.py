"""API keys: who may ask, when the server has been given keys."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Security
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from doctor_derma.server.problems import KEY_NEEDED, ProblemError

_BEARER = HTTPBearer(auto_error=False, description="The key as a bearer token")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The key in its own header")


def key_needed(keys: frozenset[str]) -> list[Dependency]:
    """Return the dependencies of routes that need one of the keys; none where there is no key."""
    return [Depends(_check(keys))] if keys else []


def _check(keys: frozenset[str]) -> Callable[..., Awaitable[None]]:
    encoded = [key.encode() for key in keys]

    async def check(
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> None:
        given = bearer.credentials if bearer else header
        if given is None:
            raise _refusal("Send an API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
        received = given.encode("latin-1")  # As HTTP headers are decoded.
        # Every key is compared in full, so that the time tells nothing about any of them.
        matches = [hmac.compare_digest(received, key) for key in encoded]
        if not any(matches):
            raise _refusal("This API key is not one of the server's.")

    return check


def _refusal(detail: str) -> ProblemError:
    return ProblemError(KEY_NEEDED, detail, {"WWW-Authenticate": "Bearer"})
