"""Decoding in threads: errors pass, large pictures go one at a time, small ones go past them."""

import asyncio
import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor_derma.data.decoding import UnreadableImage
from doctor_derma.serving.classifier import Classifier, ReadPicture
from doctor_derma.serving.engine import decoding
from doctor_derma.serving.engine.decoding import Decoder, pixels_in_memory
from serving.engine.acting import plain_picture, until
from serving.tiny_bundle import GREEN, RED


def encoded(size: tuple[int, int], format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, RED).save(stream, format, **options)
    return stream.getvalue()


def test_a_picture_is_what_the_classifier_reads(classifier: Classifier) -> None:
    decoder = Decoder(classifier, threads=2)
    picture = encoded((40, 30))
    decoded = asyncio.run(decoder.decode(picture))
    np.testing.assert_array_equal(decoded.picture.pixels, classifier.read(picture).pixels)
    assert decoded.seconds > 0
    with pytest.raises(UnreadableImage, match="not a picture"):
        asyncio.run(decoder.decode(b"nonsense"))
    decoder.close()


class HeldClassifier:
    """Reads a file of one letter: small letters at once, capitals when they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.begun: list[bytes] = []

    def read(self, source: bytes) -> ReadPicture:
        self.begun.append(source)
        if source.isupper():
            assert self.let_go.wait(10)
        return plain_picture(GREEN)


def test_one_large_picture_at_a_time_and_small_ones_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def size(source: bytes) -> int:
        return decoding.LARGE_PIXELS + source.isupper()

    monkeypatch.setattr(decoding, "pixels_in_memory", size)
    classifier = HeldClassifier()
    decoder = Decoder(classifier, threads=2)  # type: ignore[arg-type]

    async def scenario() -> None:
        large = [asyncio.create_task(decoder.decode(name)) for name in (b"A", b"B", b"C")]
        await until(lambda: classifier.begun == [b"A"])
        small = [decoder.decode(name) for name in (b"a", b"b", b"c")]
        await asyncio.wait_for(asyncio.gather(*small), 10)
        assert classifier.begun == [b"A", b"a", b"b", b"c"]
        classifier.let_go.set()
        await asyncio.wait_for(asyncio.gather(*large), 10)
        assert classifier.begun[4:] == [b"B", b"C"]

    asyncio.run(scenario())
    decoder.close()


def test_a_large_picture_is_in_memory_until_its_thread_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "pixels_in_memory", lambda source: decoding.LARGE_PIXELS + 1)
    classifier = HeldClassifier()
    decoder = Decoder(classifier, threads=2)  # type: ignore[arg-type]

    async def scenario() -> None:
        left = asyncio.create_task(decoder.decode(b"A"))
        await until(lambda: classifier.begun == [b"A"])
        left.cancel()
        following = asyncio.create_task(decoder.decode(b"B"))
        await asyncio.sleep(0.05)
        assert classifier.begun == [b"A"]
        classifier.let_go.set()
        await asyncio.wait_for(following, 10)
        assert classifier.begun == [b"A", b"B"]

    asyncio.run(scenario())
    decoder.close()


def test_what_is_cancelled_before_a_thread_has_it_is_not_decoded() -> None:
    classifier = HeldClassifier()
    decoder = Decoder(classifier, threads=1)  # type: ignore[arg-type]

    async def scenario() -> None:
        first = asyncio.create_task(decoder.decode(b"A"))
        await until(lambda: classifier.begun == [b"A"])
        second, third = (asyncio.create_task(decoder.decode(name)) for name in (b"b", b"c"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        classifier.let_go.set()
        await asyncio.gather(first, third)
        assert classifier.begun == [b"A", b"c"]

    asyncio.run(scenario())
    decoder.close()


@pytest.mark.parametrize(
    ("picture", "pixels"),
    [
        (encoded((300, 200)), 60_000),
        (encoded((3000, 2400)), 7_200_000),
        # Half of each side is 1,500 x 1,200, a quarter is under 1,024.
        (encoded((3000, 2400), "JPEG"), 1_800_000),
        (encoded((3000, 2400), "JPEG", progressive=True), 7_200_000),
        (b"nonsense", 0),
        (b"", 0),
        (encoded((300, 200))[:20], 0),
    ],
)
def test_the_header_says_how_much_memory_a_picture_takes(picture: bytes, pixels: int) -> None:
    assert pixels_in_memory(picture) == pixels


def test_a_real_large_picture_is_decoded(classifier: Classifier, tmp_path: Path) -> None:
    decoder = Decoder(classifier, threads=2)
    decoded = asyncio.run(decoder.decode(encoded((3000, 2400))))
    assert (decoded.picture.pixels == RED).all()
    decoder.close()
