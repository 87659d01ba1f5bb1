"""A picture in the engine, its possible results, and the work of one thread on a batch."""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, NamedTuple

from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import Decoded, UnreadableImage
from doctor_derma.inference.classifier import ReadPicture
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.decoding import TAKES_TOO_MUCH, Unread, where_to_decode

# The last calls of the traceback; those before are the server's own.
REPORTED_CALLS = 5

Read = Callable[[bytes | Decoded], ReadPicture]
Classify = Callable[[Sequence[ReadPicture]], list[Prediction]]


class Classified(NamedTuple):
    """A prediction and how it was made.

    Attributes
    ----------
    prediction : of the picture
    batch : pictures that were in the network together
    decode_seconds, network_seconds : spent on decoding it, and on its batch in the network
    """

    prediction: Prediction
    batch: int
    decode_seconds: float
    network_seconds: float


class Failed(NamedTuple):
    """What the network raised, as the text of its traceback."""

    report: str

    @classmethod
    def now(cls) -> "Failed":
        """Report the exception that is being handled."""
        return cls(traceback.format_exc(limit=-REPORTED_CALLS))


class Busy(NamedTuple):
    """Too many large pictures wait already."""


# What comes back from a thread is a value. An exception would bring the frames that it passed,
# with the picture in them, and waits with it for the next run of the cycle collector.
Result = Classified | Unread | Failed | Busy
# What one run makes of a job; one that needs isolated decoding comes back afterwards.
Outcome = Result | Literal["isolated"]


@dataclass(eq=False)
class Job:
    """A picture of a patient that waits for ``answer``, by a rule or, when None, the model's own.

    ``decoded`` and ``decode_seconds`` are there when it was decoded in isolation.
    """

    encoded: bytes
    rule: Rule | None = None
    patient: Patient = NOBODY
    answer: "asyncio.Future[Result]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    decoded: Decoded | None = None
    decode_seconds: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more: answered, timed out, or the client has gone."""
        return self.answer.done()

    def settle(self, result: Result) -> None:
        """Set the answer, if it is still waited for."""
        if not self.over:
            self.answer.set_result(result)


def work(jobs: Sequence[Job], read: Read, classify: Classify) -> list[tuple[Job, Outcome]]:
    """Decode and classify a batch, without the jobs that are over.

    One thread does both, so that the pixels are still in its processor's cache when the network
    wants them, and hardly more threads than processors compete for these.
    """
    outcomes: list[tuple[Job, Outcome]] = []
    decoded: list[tuple[Job, ReadPicture, float]] = []
    for job in jobs:
        if job.over:
            continue
        start = perf_counter()
        try:
            place = "here" if job.decoded else where_to_decode(job.encoded)
            if place != "here":
                outcomes.append((job, TAKES_TOO_MUCH if place == "nowhere" else "isolated"))
                continue
            picture = read(job.decoded or job.encoded)
            picture = picture._replace(rule=job.rule, patient=job.patient)
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
