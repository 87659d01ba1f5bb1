"""What is sent and when, apart from how: both clients play the same exchanges.

An exchange is a generator that yields what to do next, a ``Request`` or a ``Pause``, is sent
the ``Reply`` to a request, and returns what it was for.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlencode

from doctor_derma.client.answers import (
    ProblemError,
    Unreachable,
    problem_error,
    read_as,
    read_prediction,
    read_problem,
)
from doctor_derma.client.pictures import Encoded
from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import UnreadableImage
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.proxies import Backoff, Retries
from doctor_derma.server.schemas import Answer, Item

Result = Prediction | ProblemError
Outcome = Result | UnreadableImage
PREDICT = "/v1/predict"
READY = "/readyz"
BATCH = "/v1/predict/batch"
# Too many requests, bad gateway, busy or stopping, gateway timeout: all pass by themselves.
PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Request:
    """One request; ``seconds`` is all that is left for it and its reply."""

    method: str
    path: str
    seconds: float
    pictures: Mapping[str, Sequence[bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """Some time to let pass."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes
    ----------
    status : the HTTP status; None when nothing came
    body : what has come of it
    broken : why not all of it came
    """

    status: int | None
    retry_after: str | None = None
    body: bytes = b""
    broken: str | None = None


def read_retry_after(value: str | None) -> float:
    """Return the seconds in a Retry-After header, which may be a date; 0 for none.

    Examples
    --------
    >>> read_retry_after("7"), read_retry_after(None)
    (7.0, 0.0)
    """
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


T = TypeVar("T")
Exchange = Generator[Request | Pause, Reply | None, T]


def is_ready(reply: Reply) -> bool:
    """Say whether a reply from ``READY`` is a yes."""
    return reply.status == 200


def fetch(path: str, retries: Retries) -> Exchange[bytes]:
    """Get what is at an address."""
    return (yield from _ask("GET", path, {}, retries))


def predict_one(
    picture: bytes, retries: Retries, rule: Rule | None = None, patient: Patient = NOBODY
) -> Exchange[Prediction]:
    """Classify a picture by a rule, the server's own when None, and what is known of a patient."""
    body = yield from _ask("POST", _asked(PREDICT, rule, patient), {"image": [picture]}, retries)
    return read_prediction(read_as(Answer, body))


def predict_group(
    group: Sequence[Encoded],
    retries: Retries,
    rule: Rule | None = None,
    patient: Patient = NOBODY,
) -> Exchange[list[Outcome]]:
    """Classify the pictures of a group that could be read; the others keep their reasons."""
    good = [encoded for encoded in group if isinstance(encoded, bytes)]
    results = iter((yield from predict_many(good, retries, rule, patient)))
    return [next(results) if isinstance(encoded, bytes) else encoded for encoded in group]


def predict_many(
    pictures: Sequence[bytes],
    retries: Retries,
    rule: Rule | None = None,
    patient: Patient = NOBODY,
) -> Exchange[list[Result]]:
    """Classify pictures, and ask again for those whose answer is missing.

    Returns
    -------
    list in the order of the pictures
    """
    results: dict[int, Result] = {}
    backoff = Backoff(retries)
    while True:
        asked = [index for index in range(len(pictures)) if not _final(results.get(index))]
        if not asked:
            return [results[index] for index in range(len(pictures))]
        sent = {"images": [pictures[index] for index in asked]}
        reply = yield from _send("POST", _asked(BATCH, rule, patient), backoff, sent)
        failure = _failure(reply)
        for item in _items(reply):
            if item.index is not None:
                results[asked[item.index]] = _result(item)
            elif item.problem is not None:
                failure = problem_error(item.problem)
        if isinstance(failure, ProblemError) and failure.status not in PASSING:
            raise failure
        if all(_final(results.get(index)) for index in asked):
            continue
        wait = backoff.wait(read_retry_after(reply.retry_after))
        if wait is None:
            if len(results) == len(pictures):
                return [results[index] for index in range(len(pictures))]
            raise failure or Unreachable("the server left out some answers; ask it again later")
        yield Pause(wait)


def _asked(path: str, rule: Rule | None, patient: Patient) -> str:
    asked = {"activation_map": "grid", "rule": rule, **patient._asdict()}
    return f"{path}?{urlencode({name: of for name, of in asked.items() if of is not None})}"


def _ask(
    method: str, path: str, pictures: Mapping[str, Sequence[bytes]], retries: Retries
) -> Exchange[bytes]:
    backoff = Backoff(retries)
    while True:
        reply = yield from _send(method, path, backoff, pictures)
        failure = _failure(reply)
        if failure is None:
            return reply.body
        final = isinstance(failure, ProblemError) and failure.status not in PASSING
        wait = None if final else backoff.wait(read_retry_after(reply.retry_after))
        if wait is None:
            raise failure
        yield Pause(wait)


def _send(
    method: str, path: str, backoff: Backoff, pictures: Mapping[str, Sequence[bytes]]
) -> Exchange[Reply]:
    reply = yield Request(method, path, backoff.remaining(), pictures)
    assert reply is not None
    return reply


def _failure(reply: Reply) -> ProblemError | Unreachable | None:
    if reply.status is not None and reply.status != 200:
        return read_problem(reply.status, reply.body)
    if reply.broken is not None:
        return Unreachable(f"{reply.broken}; see whether a server is running there")
    return None


def _items(reply: Reply) -> list[Item]:
    if reply.status != 200:
        return []
    lines = reply.body.split(b"\n")
    # The last one is empty, or cut off where the answer broke off.
    return [read_as(Item, line) for line in lines[:-1]]


def _result(item: Item) -> Result:
    if item.answer is not None:
        return read_prediction(item.answer)
    assert item.problem is not None
    return problem_error(item.problem)


def _final(result: Result | None) -> bool:
    if isinstance(result, ProblemError):
        return result.status not in PASSING
    return result is not None
