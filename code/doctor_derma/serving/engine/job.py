"""A picture on its way through the engine, and what becomes of it."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from doctor_derma.serving.prediction import Prediction


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


@dataclass(frozen=True, eq=False)
class Job:
    """An encoded picture that waits for ``answer``."""

    encoded: bytes
    answer: "asyncio.Future[Classified]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def over(self) -> bool:
        """Whether nobody waits any more, as the time is up or the client has gone."""
        return self.answer.done()

    def settle(self, outcome: "Classified | Exception") -> None:
        """Answer, if anybody still waits."""
        if self.over:
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)
