"""Who is let in: a request that the server could not answer costs it next to nothing."""

from collections import Counter

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from doctor_derma.server.engine.admission import Draining
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.problems import TOO_MANY, ProblemError, problem_response, to_problem_error
from doctor_derma.server.request import CURRENT

CLIENT_RETRY_SECONDS = 1
# Requests that wait for room by themselves, as they hold many pictures.
PATIENT = frozenset({"/v1/predict/batch"})


class Door:
    """ASGI middleware that refuses requests with pictures before anything of them is read.

    An overloaded server that first receives, parses and routes what it then refuses spends
    itself on refusals: at ten times its capacity little would be left for answers.

    Parameters
    ----------
    engine : says whether there is room
    metrics : is told of refusals
    per_client : requests that one address may have under way
    """

    def __init__(self, app: ASGIApp, engine: Engine, metrics: Metrics, per_client: int) -> None:
        self._app = app
        self._engine = engine
        self._metrics = metrics
        self._per_client = per_client
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Pictures come with POST only; pages and health are always answered.
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        client = (scope.get("client") or ("",))[0]
        if refusal := self._refuse(scope["path"], client):
            await problem_response(refusal)(scope, receive, send)
            return
        if record := CURRENT.get():
            record.accepted = True
        self._under_way[client] += 1
        try:
            await self._app(scope, receive, self._with_farewell(send))
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

    def _refuse(self, path: str, client: str) -> ProblemError | None:
        busy = self._engine.refusal()
        if isinstance(busy, Draining):
            self._metrics.refused("draining")
            refusal = to_problem_error(busy)
            refusal.headers = {**(refusal.headers or {}), "Connection": "close"}
            return refusal
        if self._under_way[client] >= self._per_client:
            self._metrics.refused("client_limit")
            detail = f"This address has {self._per_client} requests under way; wait for an answer."
            return ProblemError(TOO_MANY, detail, {"Retry-After": str(CLIENT_RETRY_SECONDS)})
        if busy and path not in PATIENT:
            self._metrics.refused("overloaded")
            return to_problem_error(busy)
        return None

    def _with_farewell(self, send: Send) -> Send:
        async def send_and_close(message: Message) -> None:
            # A client that keeps its connection would send its next request to a closed door.
            if message["type"] == "http.response.start" and not self._engine.ready:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return send_and_close
