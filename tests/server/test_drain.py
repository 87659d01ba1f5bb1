"""SIGTERM loses no request that was accepted, and overload loses none at all."""

import asyncio
import signal
import time
from pathlib import Path

import httpx
import pytest

from server.fake_engine import encoded
from server.server_process import ServerProcess, served
from tiny_bundle import RED

PICTURE = encoded(RED)


async def classify(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/predict", files={"image": PICTURE})


def connected(server: ServerProcess, most: int = 200) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
    return httpx.AsyncClient(base_url=server.url, timeout=30, trust_env=False, limits=limits)


async def until_waiting(client: httpx.AsyncClient, pictures: int) -> None:
    while f"derma_waiting_pictures {pictures}.0" not in (await client.get("/metrics")).text:
        await asyncio.sleep(0.02)


async def until_some_wait(client: httpx.AsyncClient) -> None:
    while "derma_waiting_pictures 0.0" in (await client.get("/metrics")).text:
        await asyncio.sleep(0.02)


def test_every_accepted_picture_is_answered_before_the_end(bundle: Path) -> None:
    async def scenario(server: ServerProcess) -> None:
        async with connected(server) as client, connected(server) as other:
            tasks = [asyncio.create_task(classify(client)) for _ in range(20)]
            await until_waiting(other, 20)
            server.process.send_signal(signal.SIGTERM)
            while (await other.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.01)
            # On a connection of its own: the port is still open, and the answer says so.
            late = await classify(other)
            assert late.status_code == 503
            assert int(late.headers["retry-after"]) >= 1
            assert late.headers["connection"] == "close"
            assert not all(task.done() for task in tasks)
            answers = await asyncio.gather(*tasks)
            assert [answer.status_code for answer in answers] == [200] * 20
            assert {answer.json()["label"] for answer in answers} == {"mel"}

    # Three seconds of work: a busy machine, too, sees the end come before it is done.
    with served(bundle, seconds=0.15) as server:
        asyncio.run(scenario(server))
        assert server.process.wait(10) == 0
        posts = [line for line in server.lines() if line.get("method") == "POST"]
    assert sorted(line["status"] for line in posts) == [200] * 20 + [503]


def test_a_batch_that_has_begun_is_answered_to_its_end(bundle: Path) -> None:
    async def scenario(server: ServerProcess) -> None:
        async with connected(server) as client, connected(server) as other:
            files = [("images", PICTURE) for _ in range(30)]
            task = asyncio.create_task(client.post("/v1/predict/batch", files=files))
            await until_some_wait(other)
            server.process.send_signal(signal.SIGTERM)
            while (await other.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.01)
            answer = await task
            assert answer.status_code == 200
            assert answer.text.count('"label":"mel"') == 30

    with served(bundle, seconds=0.1, variables={"DERMA_MAX_BATCH": "2"}) as server:
        asyncio.run(scenario(server))
        assert server.process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once(bundle: Path, number: int) -> None:
    with served(bundle) as server:
        began = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - began < 5


def test_under_a_flood_every_request_is_answered_and_the_work_goes_on(bundle: Path) -> None:
    # So long that the network, and not this client beside it, sets the pace.
    seconds = 0.03

    async def scenario(server: ServerProcess) -> tuple[float, float]:
        async with connected(server) as client:
            # As many at a time as may wait, one after the other: the most there can be.
            rate = await answered_a_second(client, clients=8, duration=1.5, expected={200})
            flood = await answered_a_second(client, clients=80, duration=1.5, expected={200, 503})
            return rate, flood

    async def answered_a_second(
        client: httpx.AsyncClient, clients: int, duration: float, expected: set[int]
    ) -> float:
        end = time.monotonic() + duration
        answered = 0

        async def ask() -> None:
            nonlocal answered
            while time.monotonic() < end:
                answer = await classify(client)
                assert answer.status_code in expected
                if answer.status_code == 503:
                    assert int(answer.headers["retry-after"]) >= 1
                    # Ten times the clients, though they do not wait as long as they should.
                    await asyncio.sleep(0.05)
                else:
                    answered += 1

        await asyncio.gather(*(ask() for _ in range(clients)))
        return answered / duration

    with served(bundle, seconds, {"DERMA_QUEUE_LIMIT": "8"}) as server:
        peak, flooded = asyncio.run(scenario(server))
    # The real figure is measured without a test suite beside it, see benchmarks/README.md.
    assert flooded > 0.5 * peak
