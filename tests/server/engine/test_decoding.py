"""The isolated decoder decodes as the server does, dies unnoticed, and says nothing else."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import pyvips
from PIL import Image

from doctor_derma.images.decoding import Decoded, decode
from doctor_derma.server import decoding_worker
from doctor_derma.server.engine.decoding import IsolatedDecoder, Unread
from images.made import heic, save
from images.test_dicom import dicom

SIZE = 16


def workers() -> set[int]:
    """Return the ids of the workers that this process has started."""
    return {
        child.pid
        for child in psutil.Process().children()
        if "doctor_derma.server.decoding_worker" in child.cmdline()
    }


of_other_tests: set[int] = set()


def run(scenario: Callable[[IsolatedDecoder], Awaitable[None]]) -> None:
    of_other_tests.update(workers())

    async def whole() -> None:
        decoder = IsolatedDecoder(SIZE, SIZE)
        try:
            await scenario(decoder)
        finally:
            await decoder.close()

    asyncio.run(whole())


def pid() -> int:
    """Return the id of the one worker that the decoder under test has started."""
    (worker,) = workers() - of_other_tests
    return worker


NOISE = Image.effect_noise((300, 200), 80).convert("RGB")


def test_pixels_are_those_of_the_server() -> None:
    formats = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000")
    pictures = {format: save(NOISE, format) for format in formats}
    pictures |= {"HEIC": heic(NOISE), "DICOM": dicom(np.asarray(NOISE))}

    async def scenario(decoder: IsolatedDecoder) -> None:
        for format, data in pictures.items():
            found = await decoder.decode(data)
            expected = decode(data, SIZE, SIZE)
            assert isinstance(found, Decoded), format
            assert found.size == expected.size, format
            assert np.array_equal(found.pixels, expected.pixels), format

    run(scenario)


def test_one_process_serves_many_pictures_and_says_what_is_wrong() -> None:
    good = save(NOISE, "PNG")

    async def scenario(decoder: IsolatedDecoder) -> None:
        first = await decoder.decode(good)
        process = pid()
        foreign = await decoder.decode(b"a text")
        assert isinstance(foreign, Unread)
        assert foreign.kind == "foreign"
        damaged = await decoder.decode(good[:-2000])
        assert isinstance(damaged, Unread)
        assert damaged.kind == "damaged"
        again = await decoder.decode(good)
        assert isinstance(first, Decoded)
        assert isinstance(again, Decoded)
        assert np.array_equal(first.pixels, again.pixels)
        assert pid() == process
        assert psutil.Process(process).children() == []

    run(scenario)


@pytest.mark.slow
def test_too_much_memory_is_a_refusal() -> None:
    # Of one with its lines out of order, libpng has to have all: 200 MB.
    plain = pyvips.Image.black(7000, 7000, bands=4).copy(interpretation="srgb")
    data = plain.pngsave_buffer(interlace=True)

    async def scenario(decoder: IsolatedDecoder) -> None:
        found = await decoder.decode(data)
        assert isinstance(found, Unread)
        assert found.kind == "large"
        assert isinstance(await decoder.decode(save(NOISE, "PNG")), Decoded)

    run(scenario)


@pytest.mark.slow
def test_a_photograph_of_a_telephone_is_decoded() -> None:
    # 24 megapixels, as recent ones take them if not told else.
    photograph = NOISE.resize((5712, 4284))
    data = heic(photograph, chroma=420, quality=40, enc_params={"preset": "ultrafast"})

    async def scenario(decoder: IsolatedDecoder) -> None:
        found = await decoder.decode(data)
        assert isinstance(found, Decoded)
        mean = np.asarray(photograph.reduce(68)).mean()
        assert found.pixels.mean() == pytest.approx(mean, abs=2)

    run(scenario)


@pytest.mark.slow
def test_too_much_time_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(*arguments: object) -> None:
        while True:
            pass

    monkeypatch.setattr(decoding_worker, "decode", forever)
    monkeypatch.setattr(decoding_worker, "PROCESSOR_SECONDS", 1)
    start = time.monotonic()
    said = decoding_worker.answer(b"", SIZE, SIZE)
    assert time.monotonic() - start < 8
    assert decoding_worker.TOO_MUCH.encode() in said


def test_a_decoder_that_sleeps_is_woken_up_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_worker, "decode", lambda *arguments: time.sleep(60))
    monkeypatch.setattr(decoding_worker, "SECONDS", 1)
    assert decoding_worker.TOO_MUCH.encode() in decoding_worker.answer(b"", SIZE, SIZE)


def test_a_decoder_that_crashes_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_worker, "decode", lambda *arguments: os.kill(os.getpid(), 9))
    assert decoding_worker.TOO_MUCH.encode() in decoding_worker.answer(b"", SIZE, SIZE)


def test_after_its_death_the_next_picture_gets_a_new_one() -> None:
    async def scenario(decoder: IsolatedDecoder) -> None:
        await decoder.decode(save(NOISE, "PNG"))
        first = pid()
        psutil.Process(first).kill()
        # Whether the one that finds it dead is refused or answered depends on who is first.
        await decoder.decode(save(NOISE, "PNG"))
        assert isinstance(await decoder.decode(save(NOISE, "PNG")), Decoded)
        assert pid() != first

    run(scenario)


@pytest.mark.slow
def test_who_is_cancelled_leaves_no_answer_for_the_next() -> None:
    large = save(Image.new("RGB", (4000, 4000), "red"), "PNG")

    async def scenario(decoder: IsolatedDecoder) -> None:
        await decoder.decode(save(NOISE, "PNG"))
        task = asyncio.create_task(decoder.decode(large))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found = await decoder.decode(save(Image.new("RGB", (30, 20), "blue"), "PNG"))
        assert isinstance(found, Decoded)
        assert found.size == (30, 20)

    run(scenario)


def test_it_ends_with_the_server_and_writes_nowhere(tmp_path: Path) -> None:
    noisy = save(NOISE, "TIFF", compression="tiff_lzw")[:-500]

    async def scenario(decoder: IsolatedDecoder) -> None:
        await decoder.decode(noisy)
        process = psutil.Process(pid())
        await decoder.close()
        assert not process.is_running()

    run(scenario)
