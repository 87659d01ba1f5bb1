"""Which proxy an HTTP request goes through, and when it is sent again.

The environment tells of proxies. httpx reads the same variables, but stops at a ``NO_PROXY`` with
an IPv6 address or a network in it, and at a proxy of another kind even for what needs none.
"""

import ipaddress
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.request import getproxies

import httpx

from doctor_derma.errors import DermaError, first_line


def proxy_of(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy for an address; None for loopback, for ``NO_PROXY`` and where none is set.

    Raises a DermaError when the proxy is of a kind that can't be used; the message names its
    variable.
    """
    known = getproxies()
    kind = url.scheme if known.get(url.scheme) else "all"
    address = known.get(kind)
    if not address or _is_loopback(url.host) or _is_excepted(url, known.get("no", "")):
        return None
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
        # What it is made of looks whether what it needs is installed.
        httpx.HTTPTransport(proxy=proxy).close()
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        variable = _variable(kind)
        reason = first_line(error).rstrip(".")
        raise DermaError(
            f"{variable}: '{address}' is no proxy that can be used ({reason}); write it as "
            f"http://host:port, or name {url.host} in NO_PROXY"
        ) from error
    return proxy


class ProxiedTransport(httpx.BaseTransport):
    """Sends each request through the proxy of its address, which a redirect may change."""

    def __init__(self) -> None:
        self._ways: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; raises as `proxy_of` and httpx do."""
        proxy = proxy_of(request.url)
        key = str(proxy.url) if proxy else ""
        if key not in self._ways:
            self._ways[key] = httpx.HTTPTransport(proxy=proxy)
        return self._ways[key].handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        for way in self._ways.values():
            way.close()


@dataclass(frozen=True)
class Retries:
    """How patient a client is.

    Attributes
    ----------
    attempts : times that a request is sent, the first one included
    first_seconds : wait before the second attempt at most; it doubles with each one
    most_seconds : wait between two attempts at most, where the server asks for none
    patience_seconds : time after which no new attempt is begun and none goes on

    Examples
    --------
    The longest waits before the attempts after the first; a client waits a random part of each:

    >>> backoff = Backoff(Retries(attempts=5, most_seconds=3.0), share=lambda: 1.0)
    >>> [backoff.wait() for _ in range(5)]
    [0.5, 1.0, 2.0, 3.0, None]
    """

    attempts: int = 5
    first_seconds: float = 0.5
    most_seconds: float = 8.0
    patience_seconds: float = 60.0


class Backoff:
    """The waits of one request: exponential with full jitter, never less than Retry-After.

    The jitter, a uniform share of the wait, keeps clients that failed together from coming
    back together (Brooker, "Exponential Backoff And Jitter", 2015).
    """

    def __init__(
        self,
        retries: Retries,
        clock: Callable[[], float] = time.monotonic,
        share: Callable[[], float] = random.random,
    ) -> None:
        self._retries = retries
        self._clock = clock
        self._share = share
        self._failures = 0
        self._end = clock() + retries.patience_seconds

    def remaining(self, wait: float = 0.0) -> float:
        """Return the seconds until patience ends after a wait, at least a little."""
        return max(self._end - self._clock() - wait, 0.001)

    def wait(self, retry_after: float = 0.0) -> float | None:
        """Return the seconds to wait after a failed attempt; None to give up."""
        self._failures += 1
        if self._failures >= self._retries.attempts:
            return None
        longest = self._retries.first_seconds * 2.0 ** (self._failures - 1)
        wait = retry_after + self._share() * min(longest, self._retries.most_seconds)
        return None if wait > self._end - self._clock() else wait


def _variable(kind: str) -> str:
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), names[1])


def _is_loopback(host: str) -> bool:
    if address := _address(host):
        return address.is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _is_excepted(url: httpx.URL, excepted: str) -> bool:
    address = _address(url.host)
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    for written in excepted.casefold().replace(",", " ").split():
        entry = written.partition("://")[2] or written
        if entry == "*" or (address and _holds(entry, address)):
            return True
        name, _, named_port = entry.partition(":")
        name = name.removeprefix("*").removeprefix(".")
        same_port = not named_port or named_port == str(port)
        if name and same_port and (url.host == name or url.host.endswith(f".{name}")):
            return True
    return False


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Say whether an entry is an address, or the network of one, with or without brackets."""
    try:
        return address in ipaddress.ip_network(entry.replace("[", "").replace("]", ""), False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
