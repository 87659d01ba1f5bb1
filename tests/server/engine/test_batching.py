"""Batches form from what waits when a processor is free, and fail alone."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from doctor_derma.images.decoding import Decoded
from doctor_derma.inference.classifier import ReadPicture
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine import batching
from doctor_derma.server.engine.batching import MAX_ISOLATED, Batcher, Busy, Classified, Failed
from doctor_derma.server.engine.decoding import Unread
from server.engine.acting import ActingClassifier, plain_picture, until
from server.fake_engine import encoded
from tiny_bundle import BLUE, GREEN, RED


@pytest.fixture
def acting(bundle: Path) -> ActingClassifier:
    return ActingClassifier(bundle)


def batcher_of(acting: ActingClassifier, parallel: int = 1) -> Batcher:
    return Batcher(acting.read, acting.classify, acting.classify, 4, parallel, nowhere)


async def nowhere(encoded: bytes) -> Unread:
    return Unread("there is no other place", "large")


@pytest.fixture
def batcher(acting: ActingClassifier) -> Iterator[Batcher]:
    batcher = batcher_of(acting)
    yield batcher
    acting.may_end.set()
    batcher.close()


def test_a_picture_does_not_wait_for_others(acting: ActingClassifier, batcher: Batcher) -> None:
    async def scenario() -> None:
        for colour, label in ((RED, "mel"), (GREEN, "nv")):
            classified = await batcher.classify(encoded(colour))
            assert (classified.prediction.label, classified.batch) == (label, 1)

    asyncio.run(scenario())
    assert acting.batches == [1, 1]


def test_what_comes_while_the_network_runs_is_one_batch_up_to_the_limit(
    acting: ActingClassifier, batcher: Batcher
) -> None:
    async def scenario() -> None:
        acting.may_end.clear()
        colours = [RED, GREEN, BLUE, RED, GREEN, BLUE, BLUE]
        tasks = [asyncio.create_task(batcher.classify(encoded(c))) for c in colours]
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
    batcher = batcher_of(acting, parallel=2)

    async def scenario() -> None:
        acting.may_end.clear()
        tasks = [asyncio.create_task(batcher.classify(encoded(RED))) for _ in range(5)]
        await until(lambda: len(acting.batches) == 2)
        await asyncio.sleep(0.02)
        assert acting.batches == [1, 1]
        acting.may_end.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert acting.batches == [1, 1, 3]
    batcher.close()


def test_a_picture_alone_has_all_processors(acting: ActingClassifier) -> None:
    used: list[str] = []

    def classify(name: str, pictures: Sequence[ReadPicture]) -> list[Prediction]:
        used.append(f"{name} {len(pictures)}")
        return acting.classify(pictures)

    batcher = Batcher(
        acting.read,
        lambda pictures: classify("alone", pictures),
        lambda pictures: classify("batched", pictures),
        max_batch=4,
        parallel=2,
        isolated=nowhere,
    )

    async def scenario() -> None:
        await batcher.classify(encoded(RED))
        acting.may_end.clear()
        tasks = [asyncio.create_task(batcher.classify(encoded(RED))) for _ in range(4)]
        await until(lambda: len(acting.batches) == 3)
        acting.may_end.set()
        await asyncio.gather(*tasks)
        await batcher.classify(encoded(RED))

    asyncio.run(scenario())
    assert used[0] == used[-1] == "alone 1"
    assert sorted(used[1:3]) == ["alone 1", "batched 1"]
    assert used[3] == "batched 2"
    batcher.close()


def test_who_has_gone_is_left_out(acting: ActingClassifier, batcher: Batcher) -> None:
    async def scenario() -> None:
        acting.may_end.clear()
        tasks = [asyncio.create_task(batcher.classify(encoded(RED))) for _ in range(4)]
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
        tasks = [asyncio.create_task(batcher.classify(encoded(RED))) for _ in range(3)]
        await until(acting.started.is_set)
        acting.may_end.set()
        failed, *good = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, Failed)
        assert failed.report.strip().endswith("RuntimeError: out of luck")
        assert [each.prediction.label for each in good] == ["mel", "mel"]  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_what_cannot_be_read_fails_alone(acting: ActingClassifier, batcher: Batcher) -> None:
    async def scenario() -> None:
        acting.may_end.clear()
        pictures = [encoded(RED), encoded(RED), b"nonsense", encoded(RED)]
        tasks = [asyncio.create_task(batcher.classify(picture)) for picture in pictures]
        await until(acting.started.is_set)
        acting.may_end.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[2], Unread)
        assert [found[index].batch for index in (0, 1, 3)] == [1, 2, 2]  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_predictions_that_are_too_few_are_a_failure_too(acting: ActingClassifier) -> None:
    calls = 0

    def forgetful(pictures: Sequence[ReadPicture]) -> list[Prediction]:
        nonlocal calls
        calls += 1
        return [] if calls == 1 else acting.classify(pictures)

    batcher = Batcher(acting.read, forgetful, forgetful, 4, 1, nowhere)

    async def scenario() -> None:
        failed = await batcher.classify(encoded(RED))
        assert isinstance(failed, Failed)
        assert "shorter" in failed.report
        assert (await batcher.classify(encoded(RED))).prediction.label == "mel"

    asyncio.run(scenario())
    batcher.close()


class Apart:
    """Another place, for files whose names are capitals: it decodes one when it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let_go = asyncio.Event()
        self.begun: list[bytes] = []
        monkeypatch.setattr(
            batching, "where_to_decode", lambda name: "isolated" if name.isupper() else "here"
        )

    async def decode(self, name: bytes) -> Decoded | Unread:
        self.begun.append(name)
        await self.let_go.wait()
        if name == b"X":
            return Unread("it died", "large")
        return Decoded(plain_picture(GREEN).pixels, (4000, 3000))


def read(source: bytes | Decoded) -> ReadPicture:
    return plain_picture(RED) if isinstance(source, bytes) else ReadPicture(source.pixels, ())


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Apart:
    return Apart(monkeypatch)


def test_one_large_picture_at_a_time_and_small_ones_pass(
    acting: ActingClassifier, apart: Apart
) -> None:
    batcher = Batcher(read, acting.classify, acting.classify, 4, 1, apart.decode)

    async def scenario() -> None:
        large = [asyncio.create_task(batcher.classify(name)) for name in (b"A", b"X", b"C")]
        await until(lambda: apart.begun == [b"A"])
        small = [batcher.classify(name) for name in (b"a", b"b", b"c")]
        found = await asyncio.wait_for(asyncio.gather(*small), 10)
        assert [each.prediction.label for each in found] == ["mel"] * 3  # type: ignore[union-attr]
        assert apart.begun == [b"A"]
        apart.let_go.set()
        first, died, last = await asyncio.wait_for(asyncio.gather(*large), 10)
        assert [each.prediction.label for each in (first, last)] == ["nv", "nv"]  # type: ignore[union-attr]
        assert died == Unread("it died", "large")
        assert apart.begun == [b"A", b"X", b"C"]
        batcher.close()

    asyncio.run(scenario())


def test_few_large_pictures_may_wait(acting: ActingClassifier, apart: Apart) -> None:
    batcher = Batcher(read, acting.classify, acting.classify, 4, 1, apart.decode)

    async def scenario() -> None:
        tasks = [asyncio.create_task(batcher.classify(b"A")) for _ in range(MAX_ISOLATED + 4)]
        await until(lambda: sum(task.done() for task in tasks) == 3)
        assert all(task.result() == Busy() for task in tasks if task.done())
        apart.let_go.set()
        found = await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert sum(isinstance(each, Classified) for each in found) == MAX_ISOLATED + 1
        batcher.close()

    asyncio.run(scenario())


def test_who_goes_while_the_picture_is_decoded_apart_is_left_out(
    acting: ActingClassifier, apart: Apart
) -> None:
    batcher = Batcher(read, acting.classify, acting.classify, 4, 1, apart.decode)

    async def scenario() -> None:
        gone, waits, left, following = (
            asyncio.create_task(batcher.classify(name)) for name in (b"A", b"B", b"C", b"D")
        )
        await until(lambda: apart.begun == [b"A"])
        await asyncio.sleep(0.05)
        for task in (gone, left):
            task.cancel()
        apart.let_go.set()
        await asyncio.wait_for(asyncio.gather(waits, following), 10)
        assert apart.begun == [b"A", b"B", b"D"]
        assert acting.batches == [1, 1]
        batcher.close()

    asyncio.run(scenario())


def test_what_is_cancelled_before_a_thread_has_it_is_not_read(acting: ActingClassifier) -> None:
    begun: list[bytes] = []

    def reading(source: bytes | Decoded) -> ReadPicture:
        assert isinstance(source, bytes)
        begun.append(source)
        return plain_picture(RED)

    batcher = Batcher(reading, acting.classify, acting.classify, 4, 1, nowhere)

    async def scenario() -> None:
        acting.may_end.clear()
        first = asyncio.create_task(batcher.classify(b"a"))
        await until(acting.started.is_set)
        second, third = (asyncio.create_task(batcher.classify(name)) for name in (b"b", b"c"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        acting.may_end.set()
        await asyncio.gather(first, third)
        assert begun == [b"a", b"c"]

    asyncio.run(scenario())
    batcher.close()
