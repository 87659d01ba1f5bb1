"""Who is let in, before anything of a request is read."""

import asyncio
from typing import Any

import pytest

from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.engine.admission import Draining, Overloaded
from doctor_derma.server.logs import CURRENT, RequestRecord
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.middleware import LoadShedding


class Engine:
    """Refuses what it is told to refuse."""

    def __init__(self, busy: Overloaded | None = None) -> None:
        self.busy = busy
        self.ready = not isinstance(busy, Draining)

    def refusal(self) -> Overloaded | None:
        return self.busy


class App:
    """Holds requests until they are let go, and counts them."""

    def __init__(self) -> None:
        self.entered = 0
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered += 1
        await self.may_end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def unread() -> Any:
    raise AssertionError("something of the request was read")


class Client:
    """Asks at a door, and keeps the answers."""

    def __init__(self, door: LoadShedding) -> None:
        self._door = door

    async def ask(
        self, path: str = "/v1/predict", method: str = "POST", client: str = "10.0.0.1"
    ) -> tuple[int, dict[str, str]]:
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {"type": "http", "method": method, "path": path, "client": (client, 1)}
        await self._door(scope, unread, send)
        headers = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
        return messages[0]["status"], headers


@pytest.fixture
def metrics(classifier: Classifier) -> Metrics:
    return Metrics(classifier.info)


def make(
    metrics: Metrics, busy: Overloaded | None = None, per_client: int = 48
) -> tuple[App, Client]:
    app = App()
    door = LoadShedding(app, Engine(busy), metrics, per_client)  # type: ignore[arg-type]
    return app, Client(door)


def refused(metrics: Metrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value("derma_refused_pictures_total", {"reason": reason})


def test_who_finds_no_room_is_told_when_to_come_again(metrics: Metrics) -> None:
    async def scenario() -> None:
        app, client = make(metrics, Overloaded(7))
        for path in ("/predict", "/v1/predict"):
            status, headers = await client.ask(path)
            assert (status, headers["retry-after"]) == (503, "7")
            assert headers["content-type"] == "application/problem+json"
        assert app.entered == 0

    asyncio.run(scenario())
    assert refused(metrics, "overloaded") == 2


def test_batches_wait_for_room_and_pages_need_none(metrics: Metrics) -> None:
    async def scenario() -> None:
        app, client = make(metrics, Overloaded(7))
        app.may_end.set()
        assert (await client.ask("/v1/predict/batch"))[0] == 200
        assert (await client.ask("/healthz", "GET"))[0] == 200

    asyncio.run(scenario())


def test_a_server_that_stops_takes_no_pictures_of_any_kind(metrics: Metrics) -> None:
    async def scenario() -> None:
        app, client = make(metrics, Draining(1))
        for path in ("/v1/predict", "/v1/predict/batch"):
            status, headers = await client.ask(path)
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        app.may_end.set()
        assert (await client.ask("/healthz", "GET"))[0] == 200

    asyncio.run(scenario())
    assert refused(metrics, "draining") == 2


def test_who_was_let_in_stays_and_is_told_to_close(metrics: Metrics) -> None:
    async def scenario() -> None:
        app = App()
        engine = Engine()
        client = Client(LoadShedding(app, engine, metrics, 48))  # type: ignore[arg-type]
        record = RequestRecord("id")
        CURRENT.set(record)
        task = asyncio.create_task(client.ask())
        await asyncio.sleep(0)
        assert record.accepted
        engine.busy, engine.ready = Draining(1), False
        app.may_end.set()
        status, headers = await task
        assert (status, headers["connection"]) == (200, "close")

    asyncio.run(scenario())


def test_one_address_has_no_more_than_its_share(metrics: Metrics) -> None:
    async def scenario() -> None:
        app, client = make(metrics, per_client=2)
        tasks = [asyncio.create_task(client.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        status, headers = await client.ask()
        assert (status, headers["retry-after"]) == (429, "1")
        another = asyncio.create_task(client.ask(client="10.0.0.2"))
        await asyncio.sleep(0)
        app.may_end.set()
        assert [each[0] for each in await asyncio.gather(*tasks, another)] == [200] * 3
        assert (await client.ask())[0] == 200

    asyncio.run(scenario())
    assert refused(metrics, "client_limit") == 1


def test_addresses_that_have_left_are_forgotten(metrics: Metrics) -> None:
    app = App()
    door = LoadShedding(app, Engine(), metrics, per_client=2)  # type: ignore[arg-type]

    async def scenario() -> None:
        app.may_end.set()
        for index in range(50):
            await Client(door).ask(client=f"10.0.0.{index}")

    asyncio.run(scenario())
    assert not door._under_way
