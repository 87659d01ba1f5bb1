"""What one thread does with a batch: decode its pictures, then run the network on them."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Literal

from doctor_derma.data.decoding import UnreadableImage
from doctor_derma.serving.classifier import ReadPicture
from doctor_derma.serving.engine.job import Classified, Failed, Job, Result, Unread
from doctor_derma.serving.engine.size import LARGE_PIXELS, pixels_in_memory
from doctor_derma.serving.prediction import Prediction

Read = Callable[[bytes], ReadPicture]
Classify = Callable[[Sequence[ReadPicture]], list[Prediction]]
# What becomes of a job; a large picture has to come again on its own.
Outcome = Result | Literal["large"]


def work(
    jobs: Sequence[Job], read: Read, classify: Classify, large_may: bool
) -> list[tuple[Job, Outcome]]:
    """Decode and classify pictures, those left out for which nobody waits any more.

    One thread does both, so that the pixels are still in its processor's cache when the network
    wants them, and as many threads as processors are all that compete for these.

    Parameters
    ----------
    large_may : whether a picture of more than ``LARGE_PIXELS`` may be decoded
    """
    outcomes: list[tuple[Job, Outcome]] = []
    decoded: list[tuple[Job, ReadPicture, float]] = []
    for job in jobs:
        if job.over:
            continue
        if not large_may and pixels_in_memory(job.encoded) > LARGE_PIXELS:
            outcomes.append((job, "large"))
            continue
        start = perf_counter()
        try:
            picture = read(job.encoded)._replace(rule=job.rule)
        except UnreadableImage as error:
            outcomes.append((job, Unread(str(error), error.kind)))
        except Exception:
            outcomes.append((job, Failed.now()))
        else:
            decoded.append((job, picture, perf_counter() - start))
    return outcomes + _classify([each for each in decoded if not each[0].over], classify)


def _classify(
    decoded: list[tuple[Job, ReadPicture, float]], classify: Classify
) -> list[tuple[Job, Outcome]]:
    if not decoded:
        return []
    start = perf_counter()
    try:
        predictions = classify([picture for _, picture, _ in decoded])
        seconds = perf_counter() - start
        return [
            (job, Classified(prediction, len(decoded), spent, seconds))
            for (job, _, spent), prediction in zip(decoded, predictions, strict=True)
        ]
    except Exception:
        failed = Failed.now()
        return [(job, failed) for job, _, _ in decoded]
