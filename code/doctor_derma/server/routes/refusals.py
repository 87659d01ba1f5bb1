"""What went wrong with a picture or with the engine, as the refusal that a client is told."""

from doctor_derma.images.decoding import UnreadableImage
from doctor_derma.server.engine import DeadlineExceeded, Draining, Overloaded
from doctor_derma.server.routes.kinds import (
    LATE,
    NOT_READY,
    OVERLOADED,
    TOO_LARGE,
    UNREADABLE,
    WRONG_TYPE,
)
from doctor_derma.server.routes.problem import Refusal
from doctor_derma.server.routes.upload import FORMATS

FORESEEN = (UnreadableImage, Overloaded, DeadlineExceeded)
LATE_RETRY_SECONDS = 1


def as_refusal(error: Exception) -> Refusal:
    """Return the refusal for an error of one of the types in ``FORESEEN``."""
    match error:
        case UnreadableImage():
            reason = str(error)[:1].upper() + str(error)[1:]
            if error.kind == "foreign":
                return Refusal(WRONG_TYPE, f"{reason}; send {FORMATS}.")
            if error.kind == "large":
                return Refusal(TOO_LARGE, f"{reason}.")
            return Refusal(UNREADABLE, f"{reason}.")
        case Draining():
            detail = "The server is stopping; send this again in a moment."
            return Refusal(NOT_READY, detail, _wait(error.retry_after))
        case Overloaded():
            detail = "Too many pictures are waiting; send this again in a moment."
            return Refusal(OVERLOADED, detail, _wait(error.retry_after))
        case DeadlineExceeded():
            detail = "The picture waited too long and was given up; send it again."
            return Refusal(LATE, detail, _wait(LATE_RETRY_SECONDS))
    raise TypeError(f"{type(error).__name__} is no error that a client is told of") from error


def _wait(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}
