"""Batches form from what waits when the network is free, and fail alone."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor_derma.serving.engine.batching import Batcher
from serving.engine.acting import ActingClassifier, plain_picture, until
from serving.tiny_bundle import BLUE, GREEN, RED


@pytest.fixture
def acting(bundle: Path) -> ActingClassifier:
    return ActingClassifier(bundle)


@pytest.fixture
def batcher(acting: ActingClassifier) -> Iterator[Batcher]:
    batcher = Batcher(acting.classify, most=4, runs=1)
    yield batcher
    acting.may_end.set()
    batcher.close()


def test_a_picture_does_not_wait_for_others(acting: ActingClassifier, batcher: Batcher) -> None:
    async def scenario() -> None:
        for colour, label in ((RED, "mel"), (GREEN, "nv")):
            classified = await batcher.classify(plain_picture(colour))
            assert (classified.prediction.label, classified.batch) == (label, 1)

    asyncio.run(scenario())
    assert acting.batches == [1, 1]


def test_what_comes_while_the_network_runs_is_one_batch_up_to_the_limit(
    acting: ActingClassifier, batcher: Batcher
) -> None:
    async def scenario() -> None:
        acting.may_end.clear()
        colours = [RED, GREEN, BLUE, RED, GREEN, BLUE, BLUE]
        tasks = [asyncio.create_task(batcher.classify(plain_picture(c))) for c in colours]
        await until(acting.started.is_set)
        await asyncio.sleep(0.02)
        acting.may_end.set()
        classified = await asyncio.gather(*tasks)
        labels = {RED: "mel", GREEN: "nv", BLUE: "vasc"}
        assert [each.prediction.label for each in classified] == [labels[c] for c in colours]
        assert [each.batch for each in classified] == [1, 4, 4, 4, 4, 2, 2]

    asyncio.run(scenario())
    assert acting.batches == [1, 4, 2]


def test_as_many_batches_run_as_may(acting: ActingClassifier) -> None:
    batcher = Batcher(acting.classify, most=4, runs=2)

    async def scenario() -> None:
        acting.may_end.clear()
        tasks = [asyncio.create_task(batcher.classify(plain_picture(RED))) for _ in range(5)]
        await until(lambda: len(acting.batches) == 2)
        await asyncio.sleep(0.02)
        assert acting.batches == [1, 1]
        acting.may_end.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert acting.batches == [1, 1, 3]
    batcher.close()


def test_who_has_gone_is_left_out(acting: ActingClassifier, batcher: Batcher) -> None:
    async def scenario() -> None:
        acting.may_end.clear()
        tasks = [asyncio.create_task(batcher.classify(plain_picture(RED))) for _ in range(4)]
        await until(acting.started.is_set)
        for task in tasks[1:3]:
            task.cancel()
        await asyncio.sleep(0)
        acting.may_end.set()
        first, *gone, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in gone)
        assert (first.batch, last.batch) == (1, 1)  # type: ignore[union-attr]

    asyncio.run(scenario())
    assert acting.batches == [1, 1]


def test_a_failure_is_that_of_its_batch_alone(acting: ActingClassifier, batcher: Batcher) -> None:
    async def scenario() -> None:
        acting.may_end.clear()
        acting.errors = [RuntimeError("out of luck")]
        tasks = [asyncio.create_task(batcher.classify(plain_picture(RED))) for _ in range(3)]
        await until(acting.started.is_set)
        acting.may_end.set()
        failed, *good = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, RuntimeError)
        assert [each.prediction.label for each in good] == ["mel", "mel"]  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_predictions_that_are_too_few_are_a_failure_too(acting: ActingClassifier) -> None:
    calls = 0

    def forgetful(pictures: list) -> list:
        nonlocal calls
        calls += 1
        return [] if calls == 1 else acting.classify(pictures)

    batcher = Batcher(forgetful, most=4, runs=1)  # type: ignore[arg-type]

    async def scenario() -> None:
        with pytest.raises(ValueError, match="shorter"):
            await batcher.classify(plain_picture(RED))
        assert (await batcher.classify(plain_picture(RED))).prediction.label == "mel"

    asyncio.run(scenario())
    batcher.close()
