"""Which requests with pictures are refused for lack of room, before anything of them is parsed."""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from doctor_derma.server.access import ENCODED_HEADERS
from doctor_derma.server.engine.engine import Draining, Engine
from doctor_derma.server.logs import RequestRecord, log_request, new_request_id
from doctor_derma.server.metrics import UNKNOWN_ROUTE, Metrics
from doctor_derma.server.problems import (
    NOT_READY,
    OVERLOADED,
    TOO_MANY,
    ProblemError,
    problem_response,
)

CLIENT_RETRY_SECONDS = 1
# Requests that wait for room by themselves, as they hold many pictures.
PATIENT_PATHS = frozenset({"/v1/predict/batch"})
# As the metrics name them.
_REASONS = {NOT_READY: "draining", TOO_MANY: "client_limit", OVERLOADED: "overloaded"}
# A longer body is not read to its end for the sake of the next request.
DROPPED_BYTES = 1_000_000
# Early refusals are logged together, once in so many seconds.
LOG_SECONDS = 1.0
_REQUEST_LINE = re.compile(rb"POST (/predict|/v1/predict)(?:\?[^ ]*)? HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,7})[ \t]*(?=\r\n)")
# What the application has to see: a client behind a proxy, a browser, a body of unknown length, and
# what changes the connection.
_NEEDED = re.compile(
    rb"\r\n(?:forwarded|x-forwarded-for|origin|transfer-encoding|expect|upgrade|x-request-id|"
    rb"connection:(?![ \t]*keep-alive[ \t]*\r\n))"
)


class EarlyRefusal(NamedTuple):
    """An answer, and where its request ends, in bytes from the first."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    end: int


class Shedding:
    """Decides who is refused, and counts who is not.

    ``engine`` says whether there is room, ``metrics`` is told of refusals, and ``per_client`` is
    how many requests one address may have under way.
    """

    def __init__(self, engine: Engine, metrics: Metrics, per_client: int) -> None:
        self._engine = engine
        self._metrics = metrics
        self._per_client = per_client
        self._under_way: Counter[str] = Counter()
        # Passed on in this turn of the event loop, and not under way before the next.
        self._coming: Counter[str] = Counter()
        self._early = 0

    @property
    def draining(self) -> bool:
        """Whether the server stops, so that a connection had better be closed."""
        return not self._engine.ready

    @property
    def clients(self) -> int:
        """How many addresses have requests under way; of others nothing is kept."""
        return len(self._under_way)

    @contextmanager
    def under_way(self, client: str) -> Iterator[None]:
        """Count a request of a client while it is answered."""
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

    def refusal(self, path: str, client: str) -> ProblemError | None:
        """Return why a request with pictures is refused, and count it; None if it is not."""
        if error := self._reason(path, client):
            self._metrics.refused(_REASONS[error.type])
        return error

    def refuse_early(self, data: bytes, client: str) -> EarlyRefusal | None:
        """Refuse what an address sends by its first bytes, or return None: the application decides.

        An overloaded server that parses, routes and logs what it then refuses spends half of itself
        on that. What the application would answer differently is left to it: a request of a
        browser or through a proxy, or one whose head has not come in one piece.
        """
        if not (begin := _REQUEST_LINE.match(data)) or self.draining:
            return None
        path = begin[1].decode()
        if (refusal := self._reason(path, client)) is None:
            if not self._coming:
                asyncio.get_running_loop().call_soon(self._coming.clear)
            self._coming[client] += 1
            return None
        end_of_head = data.find(b"\r\n\r\n") + 4
        head = data[:end_of_head].lower()
        lengths = _LENGTH.findall(head)
        if end_of_head < 4 or len(lengths) != 1 or _NEEDED.search(head):
            return None
        if (length := int(lengths[0])) > DROPPED_BYTES:
            return None
        self._metrics.refused(_REASONS[refusal.type])
        self._metrics.requested(UNKNOWN_ROUTE, "POST", refusal.status_code, 0.0)
        if not self._early:
            asyncio.get_running_loop().call_later(LOG_SECONDS, self._log)
        self._early += 1
        record = RequestRecord(new_request_id(), path)
        told = problem_response(refusal, record)
        headers = [*told.raw_headers, (b"x-request-id", record.id.encode()), *ENCODED_HEADERS]
        return EarlyRefusal(told.status_code, headers, bytes(told.body), end_of_head + length)

    def _reason(self, path: str, client: str) -> ProblemError | None:
        busy = self._engine.refusal(self._coming.total())
        if isinstance(busy, Draining):
            return busy
        if self._under_way[client] + self._coming[client] >= self._per_client:
            detail = f"This address has {self._per_client} requests under way; wait for an answer."
            return ProblemError(TOO_MANY, detail, retry_after=CLIENT_RETRY_SECONDS)
        return busy if path not in PATIENT_PATHS else None

    def _log(self) -> None:
        log_request(logging.INFO, refused=self._early)
        self._early = 0
