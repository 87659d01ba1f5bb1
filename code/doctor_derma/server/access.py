"""Who may use the API, with which key and from the pages of which sites, and what browsers may do:
headers that keep the pages from loading, sending or being embedded anywhere else.

The headers are those of the OWASP Secure Headers Project, but for Strict-Transport-Security, which
is for whoever terminates TLS in front of the server to promise.
"""

import hmac
from typing import Annotated

from fastapi import Depends, FastAPI, Security
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from doctor_derma.server.problems import KEY_NEEDED, ProblemError

_BEARER = HTTPBearer(auto_error=False, description="The key as a bearer token")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The key in its own header")
# Nothing here uses any of them; a page that is broken into should not either. (The camera button
# opens the phone's own camera, not the page's.) Browsers complain of names they don't know.
_UNUSED = (
    *("accelerometer", "autoplay", "browsing-topics", "camera", "display-capture"),
    *("encrypted-media", "fullscreen", "gamepad", "geolocation", "gyroscope", "hid"),
    *("magnetometer", "microphone", "midi", "payment", "picture-in-picture"),
    *("publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
SECURITY_HEADERS = {
    # blob: shows the chosen picture; everything else comes from this server.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{name}=()" for name in _UNUSED),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
}
# The browser edition, whose network is WebAssembly in a worker, and which can become an app.
LOCAL_PATH = "/local"
LOCAL_POLICY = SECURITY_HEADERS["Content-Security-Policy"].replace(
    "script-src 'self'",
    "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; manifest-src 'self'",
)
# Pages and scripts are asked for again, so that a new release is seen; answers say no-store.
CACHE_CONTROL = "no-cache"
PREFLIGHT_SECONDS = 3600
# As they are sent: every answer has them, so they are encoded once.
ENCODED_HEADERS = [
    (name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
]
_ENCODED_LOCAL = [
    (name, LOCAL_POLICY.encode() if name == b"content-security-policy" else value)
    for name, value in ENCODED_HEADERS
]
_NAMES = frozenset(name for name, _ in ENCODED_HEADERS)


def secure_browsers(app: ASGIApp) -> ASGIApp:
    """ASGI middleware that adds ``SECURITY_HEADERS`` to every answer."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        local = scope.get("path", "").startswith(f"{LOCAL_PATH}/")
        headers = _ENCODED_LOCAL if local else ENCODED_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message.get("headers", ()) if header[0] not in _NAMES]
                message["headers"] = own + headers
                MutableHeaders(scope=message).setdefault("Cache-Control", CACHE_CONTROL)
            await send(message)

        await app(scope, receive, send_with_headers)

    return answer


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
        max_age=PREFLIGHT_SECONDS,
    )


def key_needed(keys: frozenset[str]) -> list[Dependency]:
    """Return the dependencies of routes that need one of the keys; none without keys."""
    encoded = [key.encode() for key in keys]

    async def check(
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> None:
        given = bearer.credentials if bearer else header
        if given is None:
            raise _unknown("Send an API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
        received = given.encode("latin-1")  # As HTTP headers are decoded.
        # Every key is compared in full, so that the time tells nothing about any of them.
        matches = [hmac.compare_digest(received, key) for key in encoded]
        if not any(matches):
            raise _unknown("This API key is not one of the server's.")

    return [Depends(check)] if keys else []


def _unknown(detail: str) -> ProblemError:
    return ProblemError(KEY_NEEDED, detail, {"WWW-Authenticate": "Bearer"})
