"""What a thread does with a batch: a bad picture fails alone, a large one has to come again."""

import asyncio
import io
import re
import struct
import zlib
from collections.abc import Sequence

import pytest
from PIL import Image

from doctor_derma.images.decoding import decode
from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.engine.batching import Classified, Failed, Job, Outcome, work
from doctor_derma.server.engine.decoding import Unread, where_to_decode
from images.made import heic, png_chunk, with_size
from tiny_bundle import BLUE, GREEN, RED, SIZE


def encoded(
    size: tuple[int, int],
    format: str = "PNG",
    colour: tuple[int, int, int] = RED,
    **options: object,
) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, format, **options)
    return stream.getvalue()


SMALL = encoded((40, 30))
LARGE = encoded((3000, 3000))


def outcomes(
    classifier: Classifier, pictures: Sequence[bytes], gone: int = -1
) -> dict[int, Outcome]:
    """Return what became of each picture; nobody waits for the one at ``gone``."""

    async def scenario() -> dict[int, Outcome]:
        jobs = [Job(picture) for picture in pictures]
        if gone >= 0:
            jobs[gone].answer.cancel()
        done = work(jobs, classifier.read, classifier.classify)
        return {jobs.index(job): outcome for job, outcome in done}

    return asyncio.run(scenario())


def test_each_picture_gets_its_own_prediction(classifier: Classifier) -> None:
    pictures = [encoded((40, 30), colour=colour) for colour in (RED, GREEN, BLUE)]
    found = outcomes(classifier, pictures)
    assert len(found) == 3
    for index, expected in enumerate(classifier.predict(pictures)):
        classified = found[index]
        assert isinstance(classified, Classified)
        assert classified.prediction.probabilities == expected.probabilities
        assert classified.batch == 3
        assert classified.decode_seconds > 0
        assert classified.network_seconds > 0


def test_a_picture_that_cannot_be_read_fails_alone(classifier: Classifier) -> None:
    found = outcomes(classifier, [SMALL, b"nonsense", SMALL])
    assert found[1] == Unread("not a picture that can be read", "foreign")
    assert [found[index].batch for index in (0, 2)] == [2, 2]  # type: ignore[union-attr]


def test_a_picture_that_cannot_be_looked_through_fails_alone(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(picture: bytes) -> str:
        if picture == b"a stone":
            raise RuntimeError("out of luck")
        return where_to_decode(picture)

    monkeypatch.setattr("doctor_derma.server.engine.batching.where_to_decode", stumble)
    found = outcomes(classifier, [SMALL, b"a stone", SMALL])
    failed = found[1]
    assert isinstance(failed, Failed)
    assert failed.report.strip().endswith("RuntimeError: out of luck")
    assert [found[index].batch for index in (0, 2)] == [2, 2]  # type: ignore[union-attr]


def test_with_nothing_to_read_the_network_does_not_run(classifier: Classifier) -> None:
    def never(pictures: object) -> list:
        raise AssertionError("there is nothing to classify")

    async def scenario() -> None:
        ((_, outcome),) = work([Job(b"nonsense")], classifier.read, never)
        assert isinstance(outcome, Unread)

    asyncio.run(scenario())


def test_a_large_picture_is_for_another_place(classifier: Classifier) -> None:
    found = outcomes(classifier, [SMALL, LARGE])
    assert found[1] == "isolated"
    assert found[0].batch == 1  # type: ignore[union-attr]


def test_a_picture_that_was_decoded_apart_is_classified(classifier: Classifier) -> None:
    async def scenario() -> None:
        job = Job(LARGE, decoded=decode(SMALL, SIZE, SIZE), decode_seconds=1.0)
        ((_, outcome),) = work([job], classifier.read, classifier.classify)
        assert isinstance(outcome, Classified)
        assert outcome.prediction.label == "mel"
        assert outcome.decode_seconds > 1

    asyncio.run(scenario())


def test_what_fits_nowhere_is_refused_before_it_is_decoded(classifier: Classifier) -> None:
    ((_, outcome),) = outcomes(classifier, [PROGRESSIVE_50_MEGAPIXELS]).items()
    assert isinstance(outcome, Unread)
    assert outcome.kind == "large"


def test_nothing_is_done_for_who_has_gone(classifier: Classifier) -> None:
    assert set(outcomes(classifier, [SMALL, b"nonsense", SMALL], gone=1)) == {0, 2}


def test_who_goes_while_the_picture_is_read_is_left_out_of_the_batch(
    classifier: Classifier,
) -> None:
    async def scenario() -> None:
        jobs = [Job(SMALL), Job(SMALL)]

        def read(picture: bytes) -> object:
            jobs[0].answer.cancel()
            return classifier.read(picture)

        ((job, outcome),) = work(jobs, read, classifier.classify)  # type: ignore[arg-type]
        assert job is jobs[1]
        assert outcome.batch == 1  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_an_answer_is_given_once() -> None:
    async def scenario() -> None:
        job = Job(SMALL)
        job.settle(Unread("first", "damaged"))
        job.settle(Unread("second", "damaged"))
        assert await job.answer == Unread("first", "damaged")

    asyncio.run(scenario())


def pixels_said(data: bytes, width: int, height: int) -> bytes:
    """Return a JPEG that says it has another size."""
    at = re.search(rb"\xff[\xc0\xc2]", data)
    assert at
    return data[: at.start() + 5] + struct.pack(">HH", height, width) + data[at.start() + 9 :]


def with_text(png: bytes, length: int) -> bytes:
    """Put compressed text behind a PNG's header, of so many bytes when it is unpacked."""
    return png[:33] + png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(length), 9)) + png[33:]


PROGRESSIVE = encoded((3000, 2400), "JPEG", progressive=True)
PROGRESSIVE_50_MEGAPIXELS = pixels_said(
    encoded((40, 30), "JPEG", progressive=True, subsampling=0), 7000, 7000
)
RUNS = encoded((40, 30), "BMP")[:30] + b"\1" + encoded((40, 30), "BMP")[31:]


@pytest.mark.parametrize(
    ("picture", "place"),
    [
        (encoded((300, 200)), "here"),
        (encoded((1920, 1080)), "here"),
        (LARGE, "isolated"),
        (encoded((1500, 1500), "WEBP"), "isolated"),
        (encoded((800, 600), "WEBP"), "here"),
        # A telephone's, decoded at a quarter of its size.
        (encoded((4000, 3000), "JPEG"), "here"),
        (pixels_said(PROGRESSIVE, 6000, 4000), "isolated"),
        (PROGRESSIVE_50_MEGAPIXELS, "nowhere"),
        (encoded((30, 20), "TIFF"), "isolated"),
        (RUNS, "isolated"),
        # Their decoders work when a file is merely opened, so never in the server.
        *((encoded((30, 20), format), "isolated") for format in ("AVIF", "GIF", "JPEG2000")),
        (heic(Image.new("RGB", (64, 64))), "isolated"),
        (bytes(128) + b"DICM" + bytes(99), "isolated"),
        # What is refused by what it says of itself needs no decoder.
        (with_size(heic(Image.new("RGB", (64, 64))), 9000, 9000), "here"),
        # 10 kB that Pillow would unpack to 10 MB when it opens the file.
        (with_text(encoded((30, 20), "PNG"), 10_000_000), "isolated"),
        (with_text(encoded((30, 20), "PNG"), 10_000), "here"),
        (b"nonsense", "here"),
        (b"", "here"),
        (encoded((300, 200))[:20], "here"),
    ],
)
def test_the_file_says_where_a_picture_is_decoded(picture: bytes, place: str) -> None:
    assert where_to_decode(picture) == place
