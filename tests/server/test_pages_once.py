"""Pages cost next to nothing, as they are made once, and answer HEAD as they answer GET."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from doctor_derma.bundle import CARD_FILE
from doctor_derma.server.app import create_app
from server.server_process import ServerProcess, served
from server.tiny_bundle import write_bundle

ROWS = "\n".join(f"| {row} | {row / 7:.3f} | **x** |" for row in range(2000))
PAGES = ("/", "/card", "/docs", "/openapi.json", "/v1/model", "/v1/model/card", "/model")
HEALTH = ("/healthz", "/readyz", "/metrics", "/problems", "/problems/late", "/static/app.js")


@pytest.fixture(scope="module")
def bundle_with_card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = write_bundle(tmp_path_factory.mktemp("card"))
    (bundle / CARD_FILE).write_text(f"# Large\n\n| a | b | c |\n| - | - | - |\n{ROWS}\n")
    return bundle


@pytest.fixture(scope="module")
def server(bundle_with_card: Path) -> Iterator[ServerProcess]:
    with served(bundle_with_card) as server:
        yield server


@pytest.mark.parametrize("path", [*PAGES, *HEALTH])
def test_no_page_takes_long(bundle_with_card: Path, path: str) -> None:
    with TestClient(create_app(bundle_with_card)) as client:
        assert client.get(path).status_code == 200
        start = time.process_time()
        for _ in range(20):
            client.get(path)
        # The client takes most of it. Rendering the card takes hundreds of milliseconds.
        assert (time.process_time() - start) / 20 < 0.03


@pytest.mark.parametrize("path", [*PAGES, *HEALTH, "/nothing"])
def test_head_is_get_without_a_body(server: ServerProcess, path: str) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    for name in ("content-type", "content-security-policy"):
        assert head.headers[name] == got.headers[name]
    if path != "/metrics":
        assert head.headers["content-length"] == str(len(got.content))


def test_head_of_what_takes_pictures_is_not_possible(server: ServerProcess) -> None:
    answer = httpx.head(f"{server.url}/v1/predict", trust_env=False)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
