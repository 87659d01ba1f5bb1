"""Requests of an exchange as httpx sends them."""

import time
from collections.abc import Mapping
from typing import Any

import httpx

from doctor_derma._version import __version__
from doctor_derma.client.exchange import Reply, Request
from doctor_derma.errors import DermaError
from doctor_derma.server.settings import clean_key

_EXAMPLE = "http://localhost:5555"


def settings(url: str, api_key: str | None) -> Mapping[str, Any]:
    """Return what an httpx client is made with.

    Raises
    ------
    DermaError
        When the address is none of a server, or the key none that can be sent.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise DermaError(f"{url}: no address ({error}); give one such as {_EXAMPLE}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise DermaError(f"{url}: no address of a server; give one such as {_EXAMPLE}")
    headers = {"User-Agent": f"doctor-derma/{__version__}"}
    if api_key is not None:
        try:
            headers["Authorization"] = f"Bearer {clean_key(api_key)}"
        except ValueError as error:
            raise DermaError(f"API key: {error}; copy it anew, or give none") from error
    return {"base_url": address, "headers": headers}


def build(request: Request, timeout: float) -> Mapping[str, Any]:
    """Return the arguments of httpx for a request."""
    files = [
        # The server decides by the bytes, and the pictures' own names stay here.
        (field, ("picture", picture, "application/octet-stream"))
        for field, pictures in request.pictures.items()
        for picture in pictures
    ]
    return {
        "method": request.method,
        "url": request.path,
        "files": files or None,
        "timeout": min(timeout, request.seconds),
    }


class Collected:
    """A reply as it comes, of which everything so far is kept when it breaks off.

    Parameters
    ----------
    url : of the server, to name it when it fails
    seconds : that the reply may take in all
    """

    def __init__(self, url: httpx.URL, seconds: float) -> None:
        self._url = url
        self._end = time.monotonic() + seconds
        self._status: int | None = None
        self._retry_after: str | None = None
        self._body = bytearray()

    def begin(self, response: httpx.Response) -> None:
        """Take note of the head."""
        self._status = response.status_code
        self._retry_after = response.headers.get("retry-after")

    def add(self, chunk: bytes) -> None:
        """Take a piece of the body.

        Raises
        ------
        httpx.ReadTimeout
            When the reply takes too long in all, however often a piece of it comes.
        """
        self._body += chunk
        if time.monotonic() > self._end:
            raise httpx.ReadTimeout("the reply takes too long")

    def reply(self, broken: Exception | None = None) -> Reply:
        """Return what has come; ``broken`` says why no more did."""
        if broken is None:
            return Reply(self._status, self._retry_after, bytes(self._body))
        what = "no answer" if self._status is None else "the answer broke off"
        # Some of httpx's exceptions have no message.
        reason = f"{self._url}: {what} ({str(broken) or type(broken).__name__})"
        return Reply(self._status, self._retry_after, bytes(self._body), reason)
