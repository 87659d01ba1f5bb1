"""The engine as a whole: answers, refusals, deadlines, failures, an end without loss."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from doctor_derma.decisions import Rule
from doctor_derma.server.engine.engine import (
    DeadlineExceeded,
    Draining,
    Engine,
    NetworkFailed,
    Overloaded,
)
from doctor_derma.server.logs import CURRENT, RequestRecord
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.problems import WRONG_TYPE, ProblemError
from server.engine.acting import ActingClassifier, make_engine, until
from server.fake_engine import encoded
from tiny_bundle import BETWEEN, BLUE, GREEN, RED


@pytest.fixture
def acting(bundle: Path) -> Iterator[ActingClassifier]:
    acting = ActingClassifier(bundle)
    yield acting
    acting.may_end.set()


def run(engine: Engine, scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await engine.start()
        await scenario()
        await engine.stop()

    asyncio.run(whole())


def figure(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_many_pictures_are_each_answered_and_counted(acting: ActingClassifier) -> None:
    engine, metrics = make_engine(acting, max_batch=8)

    async def scenario() -> None:
        predictions = await asyncio.gather(
            *(engine.predict(encoded((RED, GREEN, BLUE)[index % 3])) for index in range(30))
        )
        assert [each.label for each in predictions] == ["mel", "nv", "vasc"] * 10

    run(engine, scenario)
    assert sum(acting.batches) == 30
    assert max(acting.batches) <= 8
    assert figure(metrics, "derma_predictions_total", label="nv") == 10
    assert figure(metrics, "derma_batch_pictures_sum") == 30
    assert figure(metrics, "derma_batch_pictures_count") == len(acting.batches)
    for stage in ("decode", "wait", "network"):
        assert figure(metrics, "derma_picture_seconds_count", stage=stage) == 30
    assert figure(metrics, "derma_waiting_pictures") == 0


def test_each_picture_of_a_batch_is_called_by_the_rule_it_was_sent_with(
    acting: ActingClassifier,
) -> None:
    engine, _ = make_engine(acting, max_batch=8)
    rules: list[Rule | None] = [None, "balanced", "most-probable"]

    async def scenario() -> None:
        predictions = await asyncio.gather(
            *(engine.predict(encoded(BETWEEN), rules[index % 3]) for index in range(12))
        )
        assert [each.label for each in predictions] == ["nv", "mel", "nv"] * 4
        assert {each.rule for each in predictions[1::3]} == {"balanced"}

    run(engine, scenario)
    assert max(acting.batches) > 1


def test_a_picture_too_many_is_refused_at_once(acting: ActingClassifier) -> None:
    engine, metrics = make_engine(acting, queue_limit=2)

    async def scenario() -> None:
        acting.may_end.clear()
        tasks = [asyncio.create_task(engine.predict(encoded(RED))) for _ in range(2)]
        await asyncio.sleep(0)
        assert isinstance(engine.refusal(), Overloaded)
        with pytest.raises(Overloaded) as refused:
            await engine.predict(encoded(RED))
        assert refused.value.retry_after >= 1
        assert not isinstance(refused.value, Draining)
        acting.may_end.set()
        assert [each.label for each in await asyncio.gather(*tasks)] == ["mel", "mel"]
        assert engine.refusal() is None

    run(engine, scenario)
    assert figure(metrics, "derma_refused_pictures_total", reason="overloaded") == 1


def test_a_picture_that_is_asked_for_again_is_refused_once_at_most(
    acting: ActingClassifier,
) -> None:
    engine, metrics = make_engine(acting, queue_limit=1)
    overloaded = {"reason": "overloaded"}

    async def scenario() -> None:
        acting.may_end.clear()
        first = asyncio.create_task(engine.predict(encoded(RED)))
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(Overloaded) as busy:
                await engine.attempt(encoded(GREEN))
        assert figure(metrics, "derma_refused_pictures_total", **overloaded) == 0
        engine.refused(busy.value)
        assert figure(metrics, "derma_refused_pictures_total", **overloaded) == 1
        acting.may_end.set()
        await first
        assert (await engine.attempt(encoded(GREEN))).label == "nv"

    run(engine, scenario)
    assert figure(metrics, "derma_refused_pictures_total", **overloaded) == 1


def test_an_unreadable_picture_passes_through(acting: ActingClassifier) -> None:
    engine, metrics = make_engine(acting)

    async def scenario() -> None:
        with pytest.raises(ProblemError) as refused:
            await engine.predict(b"nonsense")
        assert refused.value.type == WRONG_TYPE

    run(engine, scenario)
    assert acting.batches == []
    assert figure(metrics, "derma_refused_pictures_total", reason="unreadable") == 1


def test_what_waits_too_long_is_given_up_before_the_network(acting: ActingClassifier) -> None:
    engine, metrics = make_engine(acting, deadline_seconds=0.2)

    async def scenario() -> None:
        acting.may_end.clear()
        tasks = [asyncio.create_task(engine.predict(encoded(RED))) for _ in range(3)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, DeadlineExceeded) for each in results)
        acting.may_end.set()
        assert (await engine.predict(encoded(GREEN))).label == "nv"

    run(engine, scenario)
    # The first was in the network already; the two behind it never were.
    assert acting.batches == [1, 1]
    assert figure(metrics, "derma_refused_pictures_total", reason="late") == 3


def test_a_cancelled_picture_makes_room(acting: ActingClassifier) -> None:
    engine, metrics = make_engine(acting, queue_limit=2)

    async def scenario() -> None:
        acting.may_end.clear()
        first = asyncio.create_task(engine.predict(encoded(RED)))
        await until(acting.started.is_set)
        second = asyncio.create_task(engine.predict(encoded(RED)))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        third = asyncio.create_task(engine.predict(encoded(GREEN)))
        await asyncio.sleep(0)
        acting.may_end.set()
        assert [(await first).label, (await third).label] == ["mel", "nv"]

    run(engine, scenario)
    assert acting.batches == [1, 1]
    assert figure(metrics, "derma_refused_pictures_total", reason="gone") == 1


def test_a_failure_of_the_network_is_passed_on_and_survived(acting: ActingClassifier) -> None:
    engine, metrics = make_engine(acting)

    async def scenario() -> None:
        acting.errors = [RuntimeError("out of luck")]
        with pytest.raises(NetworkFailed, match=r"RuntimeError: out of luck"):
            await engine.predict(encoded(RED))
        assert (await engine.predict(encoded(RED))).label == "mel"

    run(engine, scenario)
    assert figure(metrics, "derma_refused_pictures_total", reason="failed") == 1
    assert figure(metrics, "derma_waiting_pictures") == 0


def test_draining_answers_what_was_accepted_and_refuses_the_rest(acting: ActingClassifier) -> None:
    engine, metrics = make_engine(acting, max_batch=1)

    async def scenario() -> None:
        assert engine.ready
        acting.may_end.clear()
        tasks = [asyncio.create_task(engine.predict(encoded(RED))) for _ in range(5)]
        await until(acting.started.is_set)
        drained = asyncio.create_task(engine.drain())
        await asyncio.sleep(0)
        assert not engine.ready
        assert isinstance(engine.refusal(), Draining)
        with pytest.raises(Draining):
            await engine.predict(encoded(RED))
        assert not drained.done()
        acting.may_end.set()
        await drained
        assert [task.result().label for task in tasks] == ["mel"] * 5

    run(engine, scenario)
    assert figure(metrics, "derma_refused_pictures_total", reason="draining") == 1


def test_an_accepted_request_may_bring_its_other_pictures(acting: ActingClassifier) -> None:
    engine, _ = make_engine(acting)

    async def scenario() -> None:
        CURRENT.set(RequestRecord("id", accepted=True))
        await engine.drain()
        assert (await engine.predict(encoded(RED))).label == "mel"
        CURRENT.set(RequestRecord("id"))
        with pytest.raises(Draining):
            await engine.predict(encoded(RED))

    run(engine, scenario)


def test_a_request_knows_what_became_of_its_pictures(acting: ActingClassifier) -> None:
    engine, _ = make_engine(acting, max_batch=4)

    async def scenario() -> None:
        record = RequestRecord("id")
        CURRENT.set(record)
        acting.may_end.clear()
        tasks = [asyncio.create_task(engine.predict(encoded(RED))) for _ in range(4)]
        await until(acting.started.is_set)
        acting.may_end.set()
        await asyncio.gather(*tasks)
        assert (record.pictures, record.largest_batch) == (4, 3)

    run(engine, scenario)


def test_before_its_start_an_engine_takes_nothing(acting: ActingClassifier) -> None:
    engine, _ = make_engine(acting)
    assert not engine.ready
    with pytest.raises(Draining):
        asyncio.run(engine.predict(encoded(RED)))
