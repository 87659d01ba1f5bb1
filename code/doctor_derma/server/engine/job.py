"""A picture on its way through the engine, and what becomes of it."""

import asyncio
import traceback
from dataclasses import dataclass, field
from typing import NamedTuple

from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import Decoded, Fault
from doctor_derma.inference.prediction import Prediction

# Of a network that fails, the last of them; the others are the server's own.
REPORTED_CALLS = 5


class Classified(NamedTuple):
    """What became of a picture, and how.

    Attributes
    ----------
    prediction : of the picture
    batch : pictures that were in the network together
    decode_seconds, network_seconds : which it was decoded, and its batch was in the network
    """

    prediction: Prediction
    batch: int
    decode_seconds: float
    network_seconds: float


class Unread(NamedTuple):
    """Why a picture could not be decoded, see ``UnreadableImage``."""

    reason: str
    kind: Fault


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


@dataclass(eq=False)
class Job:
    """A picture that waits for ``answer``, by a rule or, when None, the model's own.

    ``decoded`` and ``decode_seconds`` are there when it was decoded apart.
    """

    encoded: bytes
    rule: Rule | None = None
    answer: "asyncio.Future[Result]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    decoded: Decoded | None = None
    decode_seconds: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nobody waits any more, as the time is up or the client has gone."""
        return self.answer.done()

    def settle(self, result: Result) -> None:
        """Answer, if anybody still waits."""
        if not self.over:
            self.answer.set_result(result)
