"""What one thread does with a batch: decode its pictures, then run the network on them."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Literal

from doctor_derma.images.decoding import Decoded, UnreadableImage
from doctor_derma.inference.classifier import ReadPicture
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.job import Classified, Failed, Job, Result, Unread
from doctor_derma.server.engine.places import place_for
from doctor_derma.server.helper.messages import TOO_MUCH

Read = Callable[[bytes | Decoded], ReadPicture]
Classify = Callable[[Sequence[ReadPicture]], list[Prediction]]
# What becomes of a job; one that is decoded apart has to come again.
Outcome = Result | Literal["apart"]


def work(jobs: Sequence[Job], read: Read, classify: Classify) -> list[tuple[Job, Outcome]]:
    """Decode and classify pictures, those left out for which nobody waits any more.

    One thread does both, so that the pixels are still in its processor's cache when the network
    wants them, and as many threads as processors are all that compete for these.
    """
    outcomes: list[tuple[Job, Outcome]] = []
    decoded: list[tuple[Job, ReadPicture, float]] = []
    for job in jobs:
        if job.over:
            continue
        start = perf_counter()
        place = "here" if job.decoded else place_for(job.encoded)
        if place != "here":
            outcomes.append((job, "apart" if place == "apart" else Unread(TOO_MUCH, "large")))
            continue
        try:
            picture = read(job.decoded or job.encoded)._replace(rule=job.rule)
        except UnreadableImage as error:
            outcomes.append((job, Unread(str(error), error.kind)))
        except Exception:
            outcomes.append((job, Failed.now()))
        else:
            decoded.append((job, picture, job.decode_seconds + perf_counter() - start))
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
