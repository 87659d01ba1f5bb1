"""What is sent and when, apart from how: both clients play the same exchanges.

An exchange is a generator that yields each ``Request``, is sent the ``Reply`` to it, and returns
what it was for.
"""

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlencode

import httpx

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
from doctor_derma.inference.patient import Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.proxies import Backoff, Retries
from doctor_derma.server.schemas import Answer, Item

Outcome = Prediction | ProblemError | UnreadableImage
PREDICT = "/v1/predict"
BATCH = "/v1/predict/batch"
# Too many requests, bad gateway, busy or stopping, gateway timeout: all pass by themselves.
PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Request:
    """One request, a POST where it has pictures and a GET where it has none.

    Attributes
    ----------
    seconds : all that is left for it and its reply
    pictures : form field -> encoded pictures
    wait : seconds to let pass before it is sent
    """

    path: str
    seconds: float
    pictures: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    wait: float = 0.0


@dataclass
class Reply:
    """What comes back, of which everything so far is kept when it breaks off.

    Attributes
    ----------
    status : the HTTP status; None when nothing came
    retry_after : the header
    body : what has come of it
    broken : why not all of it came
    """

    status: int | None = None
    retry_after: str | None = None
    body: bytes | bytearray = field(default_factory=bytearray)
    broken: str | None = None

    def begin(self, response: httpx.Response) -> None:
        """Take note of the head."""
        self.status = response.status_code
        self.retry_after = response.headers.get("retry-after")

    def add(self, chunk: bytes, end: float) -> None:
        """Take a piece of the body; ``httpx.ReadTimeout`` when the whole has not come by ``end``.

        ``end`` is of the monotonic clock. However often a piece comes, the reply may take too long.
        """
        self.body += chunk
        if time.monotonic() > end:
            raise httpx.ReadTimeout("the reply takes too long")

    def break_off(self, url: httpx.URL, error: Exception) -> None:
        """Say why no more of it came from a server."""
        what = "no answer" if self.status is None else "the answer broke off"
        # Some of httpx's exceptions have no message.
        self.broken = f"{url}: {what} ({str(error) or type(error).__name__})"


T = TypeVar("T")
Exchange = Generator[Request, Reply, T]


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


def query_of(rule: Rule | None, patient: Patient) -> str:
    """Return the query that asks for a rule, the server's own when None, and tells of a patient."""
    asked = {"activation_map": "grid", "rule": rule, **patient._asdict()}
    return "?" + urlencode({name: of for name, of in asked.items() if of is not None})


def predict_one(picture: bytes, retries: Retries, query: str) -> Exchange[Prediction]:
    """Classify a picture; ``query`` is that of ``query_of``."""
    body = yield from fetch(PREDICT + query, retries, {"image": [picture]})
    return read_prediction(read_as(Answer, body))


def predict_many(
    group: Sequence[Encoded], retries: Retries, query: str = ""
) -> Exchange[list[Outcome]]:
    """Classify the pictures of a group, and ask again for those whose answer is missing.

    Returns a list in the order of the pictures, of which those that can't be read keep their
    reasons.
    """
    results: dict[int, Outcome] = {}
    pictures: dict[int, bytes] = {}
    for index, encoded in enumerate(group):
        if isinstance(encoded, bytes):
            pictures[index] = encoded
        else:
            results[index] = encoded
    backoff, wait = Backoff(retries), 0.0
    asked = list(pictures)
    while asked:
        sent = {"images": [pictures[index] for index in asked]}
        reply = yield Request(BATCH + query, backoff.remaining(wait), sent, wait)
        failure = _failure(reply)
        for item in _items(reply):
            if item.index is not None:
                results[asked[item.index]] = _result(item)
            elif item.problem is not None:
                failure = problem_error(item.problem)
        if failure and not _passes(failure):
            raise failure
        asked = [index for index in asked if _missing(results.get(index))]
        if not asked:
            break
        again = backoff.wait(read_retry_after(reply.retry_after))
        if again is not None:
            wait = again
        elif len(results) == len(group):
            break
        else:
            raise failure or Unreachable("the server left out some answers; ask it again later")
    return [results[index] for index in range(len(group))]


def fetch(
    path: str, retries: Retries, pictures: Mapping[str, Sequence[bytes]] = MappingProxyType({})
) -> Exchange[bytes]:
    """Get what is at an address, where pictures may be sent; ask again while that may help."""
    backoff, wait = Backoff(retries), 0.0
    while True:
        reply = yield Request(path, backoff.remaining(wait), pictures, wait)
        if (failure := _failure(reply)) is None:
            return bytes(reply.body)
        again = backoff.wait(read_retry_after(reply.retry_after)) if _passes(failure) else None
        if again is None:
            raise failure
        wait = again


def _failure(reply: Reply) -> ProblemError | Unreachable | None:
    if reply.status is not None and reply.status != 200:
        return read_problem(reply.status, reply.body)
    if reply.broken is not None:
        return Unreachable(f"{reply.broken}; see whether a server is running there")
    return None


def _passes(failure: ProblemError | Unreachable) -> bool:
    return isinstance(failure, Unreachable) or failure.status in PASSING


def _missing(result: Outcome | None) -> bool:
    return result is None or (isinstance(result, ProblemError) and _passes(result))


def _items(reply: Reply) -> list[Item]:
    if reply.status != 200:
        return []
    lines = reply.body.split(b"\n")
    # The last one is empty, or cut off where the answer broke off.
    return [read_as(Item, line) for line in lines[:-1]]


def _result(item: Item) -> Outcome:
    if item.answer is not None:
        return read_prediction(item.answer)
    assert item.problem is not None
    return problem_error(item.problem)
