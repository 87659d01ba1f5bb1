"""``POST /v1/predict/batch``: many pictures in, one line a picture out, while they come."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import Rule
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.problems import ProblemError, problem_of
from doctor_derma.server.routes.answering import answer_item
from doctor_derma.server.routes.keys import key_needed
from doctor_derma.server.routes.memory import UploadMemory
from doctor_derma.server.routes.outcomes import classify_uploads, pictures_ahead
from doctor_derma.server.routes.requests import (
    POST_PROBLEMS,
    MapQuery,
    RuleQuery,
    check_rule,
    form_of,
)
from doctor_derma.server.routes.upload import MANY_FIELD, Limits, read_pictures
from doctor_derma.server.schemas import Item, MapForm
from doctor_derma.server.settings import Settings

NDJSON = "application/x-ndjson"
# Of all such requests together, that wait for the engine.
BATCH_BYTES = 24_000_000
MANY = Limits(pictures=1_000, body=500_000_000)
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One Item a line, in the order of the pictures",
        "content": {NDJSON: {"schema": {"type": "string"}}},
    }
}


class _LinesResponse(StreamingResponse):
    """Lines that go out while the request's body still comes in."""

    media_type = NDJSON

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette would wait for the client to go away by reading the request's body, which
        # the pictures are still read from.
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await self.stream_response(send)


def batch_routes(engine: Engine, info: BundleInfo, settings: Settings) -> APIRouter:
    """Return the route that classifies many pictures and streams the answers."""
    router = APIRouter(tags=["prediction"], dependencies=key_needed(settings.api_keys))
    ahead = pictures_ahead(settings)
    memory = UploadMemory(BATCH_BYTES)

    @router.post(
        "/v1/predict/batch",
        summary="Classify many pictures",
        response_class=_LinesResponse,
        openapi_extra={"requestBody": {"required": True, "content": form_of(MANY_FIELD)}},
        responses=POST_PROBLEMS | _STREAM,
    )
    async def predict_batch(
        request: Request, activation_map: MapQuery = "none", rule: RuleQuery = None
    ) -> _LinesResponse:
        """At most 1,000 pictures and 500 MB; each line is an Item in JSON (NDJSON).

        A line comes as soon as its picture and those before it are classified, also while
        later pictures are still being sent. A last line with a problem and without an index
        says why the rest of the request could not be read.
        """
        check_rule(rule, info)
        lines = _lines(engine, info, request, memory, ahead, activation_map, rule)
        # What is wrong before there is any answer is an answer with the right status.
        first = await anext(lines)
        return _LinesResponse(_chain(first, lines), headers={"Cache-Control": "no-store"})

    return router


async def _lines(
    engine: Engine,
    info: BundleInfo,
    request: Request,
    memory: UploadMemory,
    ahead: int,
    form: MapForm,
    rule: Rule | None,
) -> AsyncGenerator[str, None]:
    begun = False
    with memory.share() as share:
        uploads = read_pictures(request, MANY, share)
        try:
            async with aclosing(classify_uploads(engine, uploads, share, ahead, rule)) as outcomes:
                async for outcome in outcomes:
                    item = await answer_item(outcome, info, form)
                    begun = True
                    yield item.model_dump_json() + "\n"
        except ProblemError as refusal:
            if not begun:
                raise
            problem = problem_of(refusal)
            yield Item(index=None, answer=None, problem=problem).model_dump_json() + "\n"


async def _chain(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(rest):
        yield first
        async for line in rest:
            yield line
