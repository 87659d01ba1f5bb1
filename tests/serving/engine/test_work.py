"""What a thread does with a batch: a bad picture fails alone, a large one has to come again."""

import asyncio
import io
from collections.abc import Sequence

import pytest
from PIL import Image

from doctor_derma.serving.classifier import Classifier
from doctor_derma.serving.engine.job import Classified, Job, Unread
from doctor_derma.serving.engine.size import LARGE_PIXELS, pixels_in_memory
from doctor_derma.serving.engine.work import Outcome, work
from serving.tiny_bundle import BLUE, GREEN, RED


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
LARGE = encoded((3000, 2400))


def outcomes(
    classifier: Classifier, pictures: Sequence[bytes], large_may: bool = False, gone: int = -1
) -> dict[int, Outcome]:
    """Return what became of each picture; nobody waits for the one at ``gone``."""

    async def scenario() -> dict[int, Outcome]:
        jobs = [Job(picture) for picture in pictures]
        if gone >= 0:
            jobs[gone].answer.cancel()
        done = work(jobs, classifier.read, classifier.classify, large_may)
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


def test_with_nothing_to_read_the_network_does_not_run(classifier: Classifier) -> None:
    def never(pictures: object) -> list:
        raise AssertionError("there is nothing to classify")

    async def scenario() -> None:
        ((_, outcome),) = work([Job(b"nonsense")], classifier.read, never, large_may=False)
        assert isinstance(outcome, Unread)

    asyncio.run(scenario())


def test_a_large_picture_has_to_come_again(classifier: Classifier) -> None:
    found = outcomes(classifier, [SMALL, LARGE])
    assert found[1] == "large"
    assert found[0].batch == 1  # type: ignore[union-attr]
    alone = outcomes(classifier, [LARGE], large_may=True)[0]
    assert isinstance(alone, Classified)
    assert alone.prediction.label == "mel"


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

        ((job, outcome),) = work(jobs, read, classifier.classify, large_may=False)  # type: ignore[arg-type]
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


@pytest.mark.parametrize(
    ("picture", "pixels"),
    [
        (encoded((300, 200)), 60_000),
        (LARGE, 7_200_000),
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
    assert (pixels > LARGE_PIXELS) == (pixels == 7_200_000)
