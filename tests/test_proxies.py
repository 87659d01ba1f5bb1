"""Proxies as people set them: loopback goes without, the rest works or is one sentence."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from doctor_derma.client import AsyncClient, Client
from doctor_derma.client.exchange import Retries
from doctor_derma.data.importers.download import download_ham10000
from doctor_derma.errors import DermaError
from doctor_derma.proxies import proxy_of

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def way(url: str) -> str | None:
    proxy = proxy_of(httpx.URL(url))
    return str(proxy.url) if proxy else None


LOOPBACK = (
    "http://localhost:5555",
    "http://127.0.0.1:5555",
    "http://[::1]:5555",
    "http://a.localhost",
)
ODD = ("socks://127.0.0.1:1", "ftp://x", "http://host:port", "nonsense", "socks5://127.0.0.1:1")


@pytest.mark.parametrize("url", LOOPBACK)
@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy", "HTTP_PROXY"])
def test_loopback_goes_without(url: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for proxy in (*ODD, "http://proxy:3128"):
        monkeypatch.setenv(variable, proxy)
        assert way(url) is None


@pytest.mark.parametrize(
    ("excepted", "excused", "others"),
    [
        ("localhost,[::1]", [], ["http://derma.example"]),
        ("10.0.0.0/8, fd00::/8", ["http://10.1.2.3", "http://[fd00::7]:80"], ["http://11.0.0.1"]),
        ("192.168.1.7,[2001:db8::1]", ["http://192.168.1.7", "https://[2001:db8::1]"], []),
        (
            "derma.example",
            ["http://derma.example", "https://a.derma.example"],
            ["http://aderma.example"],
        ),
        (".example *.test", ["http://a.example", "http://b.test:81"], ["http://other"]),
        ("derma.example:8080", ["http://derma.example:8080"], ["http://derma.example"]),
        ("https://derma.example", ["https://derma.example"], []),
        ("*", ["http://any.example"], []),
        (",, ;[:/", [], ["http://derma.example"]),
    ],
)
def test_exceptions_in_any_writing(
    excepted: str, excused: list[str], others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert [way(url) for url in excused] == [None] * len(excused)
    assert [way(url) for url in others] == ["http://proxy.example:3128"] * len(others)


def test_the_proxy_of_a_scheme_goes_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way("http://derma.example") is None
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    monkeypatch.setenv("https_proxy", "http://secure:2")
    assert way("http://derma.example") == "http://all:1"
    assert way("https://derma.example") == "http://secure:2"


@pytest.mark.parametrize("proxy", [name for name in ODD if name != "nonsense"])
def test_a_proxy_that_can_not_be_used_is_one_sentence(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    message = r"^ALL_PROXY: '.*' is no proxy that can be used \(.*name derma\.example in NO_PROXY$"
    for make in (Client, AsyncClient):
        with pytest.raises(DermaError, match=message) as caught:
            make("http://derma.example")
        assert "\n" not in str(caught.value)
    with pytest.raises(DermaError, match=message):
        download_ham10000(tmp_path, "http://derma.example")


@pytest.fixture
def proxy_server() -> Iterator[tuple[str, list[str]]]:
    """Give the address of a proxy that answers all itself, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_requests_go_through_the_proxy_or_past_it(
    proxy_server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = proxy_server
    monkeypatch.setenv("HTTP_PROXY", address)
    monkeypatch.setenv("http_proxy", address)
    with Client("http://derma.example/under", retries=Retries(attempts=1)) as client:
        assert client.ready()
    assert asked == ["http://derma.example/under/readyz"]
    with Client(f"http://{address}", retries=Retries(attempts=1)) as client:
        assert client.ready()
    assert asked[1:] == ["/readyz"]
