"""A picture that was refused leaves nothing behind, without help from the cycle collector."""

import asyncio
import gc
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from doctor_derma.server.engine.batching import Job
from doctor_derma.server.engine.engine import DeadlineExceeded, NetworkFailed
from doctor_derma.server.problems import ProblemError
from server.engine.acting import ActingClassifier, make_engine, until
from server.fake_engine import encoded
from tiny_bundle import RED

PAGE_BYTES = 4096


def cut_picture(side: int = 1500) -> bytes:
    """Return half of a file whose pixels take several megabytes."""
    stream = io.BytesIO()
    Image.effect_noise((side, side), 50).convert("RGB").save(stream, "PNG", compress_level=1)
    return stream.getvalue()[: stream.tell() // 2]


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive() -> int:
    """Return how many pictures and jobs there are."""
    # By type, as to ask the object itself for its class can make it warn: torch has such ones.
    return sum(issubclass(type(each), Image.Image | Job) for each in gc.get_objects())


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def test_refused_pictures_are_forgotten_at_once(bundle: Path) -> None:
    acting = ActingClassifier(bundle)
    engine, _ = make_engine(acting)
    cut = cut_picture()

    async def refuse(times: int) -> None:
        for _ in range(times):
            with pytest.raises(ProblemError):
                # Bytes of its own each time, as from a client.
                await engine.predict(cut + b"\0")

    async def scenario() -> None:
        await engine.start()
        await refuse(5)
        with without_collector():
            pictures, memory = alive(), resident_bytes()
            await refuse(60)
            # The thread may not have let go of the last.
            assert alive() <= pictures + 1
            # One picture is 7 MB, its file 2 MB.
            assert resident_bytes() - memory < 10_000_000
        await engine.stop()

    asyncio.run(scenario())


def test_a_network_that_fails_keeps_no_picture(bundle: Path) -> None:
    acting = ActingClassifier(bundle)
    engine, _ = make_engine(acting)

    async def scenario() -> None:
        await engine.start()
        with without_collector():
            before = alive()
            for _ in range(20):
                acting.errors = [RuntimeError("out of luck")]
                with pytest.raises(NetworkFailed):
                    await engine.predict(encoded(RED))
            assert alive() <= before + 1
        await engine.stop()

    asyncio.run(scenario())


def test_what_waits_in_vain_is_forgotten_before_its_turn(bundle: Path) -> None:
    acting = ActingClassifier(bundle)
    engine, _ = make_engine(acting, deadline_seconds=0.2)

    async def scenario() -> None:
        await engine.start()
        acting.may_end.clear()
        with without_collector():
            before = alive()
            first = asyncio.create_task(engine.predict(encoded(RED)))
            await until(acting.started.is_set)
            others = [asyncio.create_task(engine.predict(encoded(RED))) for _ in range(20)]
            found = await asyncio.gather(first, *others, return_exceptions=True)
            assert all(isinstance(each, DeadlineExceeded) for each in found)
            del first, others, found
            # The network still has the first.
            assert alive() <= before + 1
            acting.may_end.set()
            await asyncio.sleep(0.1)
        await engine.stop()

    asyncio.run(scenario())
