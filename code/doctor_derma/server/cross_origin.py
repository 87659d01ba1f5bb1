"""Which other sites' pages may ask the API from a browser."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

HOUR_SECONDS = 3600


def allow_origins(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let the pages of these origins use the API, and no others.

    Parameters
    ----------
    origins : each a scheme, host and port as in ``https://example.org``; none means none
    """
    if not origins:
        return
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        expose_headers=["Retry-After", "X-Request-ID"],
        max_age=HOUR_SECONDS,
    )
