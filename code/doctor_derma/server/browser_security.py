"""What browsers may do: headers that keep the pages from loading, sending or being embedded
anywhere else, and which other sites' pages may use the API.

The headers are those of the OWASP Secure Headers Project, but for Strict-Transport-Security, which
is for whoever terminates TLS in front of the server to promise.
"""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
_CACHE_CONTROL = (b"cache-control", CACHE_CONTROL.encode())


class SecurityHeaders:
    """ASGI middleware that adds ``SECURITY_HEADERS`` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to its answer."""
        local = scope.get("path", "").startswith(f"{LOCAL_PATH}/")
        headers = _ENCODED_LOCAL if local else ENCODED_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message.get("headers", ()) if header[0] not in _NAMES]
                cached = any(name == _CACHE_CONTROL[0] for name, _ in own)
                message["headers"] = own + headers + ([] if cached else [_CACHE_CONTROL])
            await send(message)

        await self._app(scope, receive, send_with_headers)


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
