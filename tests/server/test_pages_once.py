"""Pages cost next to nothing, as they are made once, and answer HEAD as they answer GET."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from doctor_derma.bundle import CARD_FILE
from doctor_derma.server.app import create_app
from server.server_process import ServerProcess, served
from tiny_bundle import write_bundle

LOOP_SECONDS = 0.002
ROWS = "\n".join(f"| {row} | {row / 7:.3f} | **x** |" for row in range(500))
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


async def get(app: FastAPI, path: str) -> int:
    """Ask an application in this thread, and return the status."""
    statuses = []
    body = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(body, None) or await asyncio.Future()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    await app({**scope, "http_version": "1.1", "root_path": "", "scheme": "http"}, receive, send)
    return statuses[0]


def test_nothing_but_predictions_takes_two_milliseconds_of_the_event_loop(
    bundle_with_card: Path,
) -> None:
    app = create_app(bundle_with_card)

    async def seconds_of(path: str) -> float:
        assert await get(app, path) == 200
        taken = []
        for _ in range(10):
            start = time.thread_time()
            await get(app, path)
            taken.append(time.thread_time() - start)
        # What a page is made of each time costs the same each time; the rest is other work on the
        # machine, which shares this processor and its caches.
        return min(taken)

    async def scenario() -> dict[str, float]:
        async with app.router.lifespan_context(app):
            # So that there is as much to tell as after days.
            for number in range(400, 500):
                app.state.metrics.requested("/v1/predict", "POST", number, 0.1)
            start = time.thread_time()
            assert len(app.state.metrics.exposition()[0]) > 100_000
            assert time.thread_time() - start > LOOP_SECONDS, "it would do no harm in the loop"
            return {path: await seconds_of(path) for path in (*PAGES, *HEALTH)}

    taken = asyncio.run(scenario())
    # Coverage looks at every line, which takes as long again.
    most = LOOP_SECONDS * (3 if sys.gettrace() else 1)
    assert {path: seconds for path, seconds in taken.items() if seconds > most} == {}


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
