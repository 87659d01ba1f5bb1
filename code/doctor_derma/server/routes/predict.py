"""Prediction: ``POST /v1/predict``, ``/v1/predict/batch`` and ``/predict``."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import Rule
from doctor_derma.inference.patient import Patient
from doctor_derma.server.answers import answer_picture, answer_uploads, pictures_ahead
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.problems import ProblemError, problem_of
from doctor_derma.server.routes.parameters import (
    POST_PROBLEMS,
    AgeQuery,
    MapQuery,
    RuleQuery,
    SexQuery,
    SiteQuery,
    check_asked,
    form_of,
    key_needed,
    raw_pictures,
)
from doctor_derma.server.schemas import (
    MAX_IMAGE_BYTES,
    Answer,
    Answers,
    Item,
    MapFormat,
    PlainAnswer,
    plain_answer,
)
from doctor_derma.server.settings import Settings
from doctor_derma.server.upload_memory import RESERVED_BYTES, UploadMemory
from doctor_derma.server.uploads import (
    FIELD,
    FORM_BYTES,
    MANY_FIELD,
    PIECE_BYTES,
    Limits,
    Upload,
    read_pictures,
)

MAX_PICTURES = 32
ONE = Limits(1, MAX_IMAGE_BYTES + FORM_BYTES, frozenset({FIELD}))
SOME = Limits(MAX_PICTURES, 2 * MAX_IMAGE_BYTES + MAX_PICTURES * FORM_BYTES, raw=True)
BATCH = Limits(pictures=1_000, body=500_000_000)
# Of all batches together, that wait for the engine.
BATCH_BYTES = 24_000_000
NDJSON = "application/x-ndjson"
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One Item a line, in the order of the pictures",
        "content": {NDJSON: {"schema": {"type": "string"}}},
    }
}


class _LinesResponse(StreamingResponse):
    """Lines that are sent while the request's body is still being received."""

    media_type = NDJSON

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette would wait for the client to go away by reading the request's body, which
        # the pictures are still read from.
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await self.stream_response(send)


def predict_routes(engine: Engine, info: BundleInfo, settings: Settings) -> APIRouter:
    """Return the routes that classify pictures."""
    router = APIRouter(tags=["prediction"], dependencies=key_needed(settings.api_keys))
    ahead = pictures_ahead(settings)
    # What is being read comes on top: the largest picture, and the beginning of the one behind it.
    ahead_bytes = BATCH_BYTES - MAX_IMAGE_BYTES - PIECE_BYTES
    memory = UploadMemory(reserved=RESERVED_BYTES)
    batch_memory = UploadMemory(BATCH_BYTES)

    async def asked(
        rule: RuleQuery = None,
        age: AgeQuery = None,
        sex: SexQuery = None,
        site: SiteQuery = None,
    ) -> tuple[Rule | None, Patient]:
        patient = Patient(age, sex, site)
        check_asked(rule, patient, info)
        return rule, patient

    @router.post(
        "/v1/predict",
        summary="Classify one picture or a few",
        response_description="An Answer for one picture in 'image'; Answers for several or for "
        "'images'",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {**form_of(FIELD, MANY_FIELD), **raw_pictures()},
            }
        },
        responses=POST_PROBLEMS,
    )
    async def predict(
        request: Request,
        response: Response,
        given: Annotated[tuple[Rule | None, Patient], Depends(asked)],
        activation_map: MapQuery = "none",
    ) -> Answer | Answers:
        """Several pictures are each answered or refused; a bad one doesn't fail the others.

        Age, sex and site, for a model that takes them, are of all pictures of the request.

        Pictures are decoded in memory, classified and forgotten: never stored or logged.
        """
        rule, patient = given
        response.headers["Cache-Control"] = "no-store"
        with memory.reservation() as reservation:
            uploads = [upload async for upload in read_pictures(request, SOME, reservation)]
            if len(uploads) == 1 and uploads[0].field == FIELD:
                prediction = await engine.predict(_picture(uploads[0]), rule, patient)
                return await answer_picture(prediction, info, activation_map)
            each = _each(uploads)
            items = answer_uploads(
                *(engine, info, each, reservation),
                ahead=ahead,
                map_format=activation_map,
                rule=rule,
                patient=patient,
            )
            return Answers(items=[item async for item in items])

    @router.post(
        "/predict",
        summary="Classify one picture, as before /v1",
        response_description="The ranked classes and the activation map",
        openapi_extra={"requestBody": {"required": True, "content": form_of(FIELD)}},
        responses=POST_PROBLEMS,
    )
    async def predict_one(request: Request, response: Response) -> PlainAnswer:
        """An alias of /v1/predict with the answer it has always had, for those who use it."""
        response.headers["Cache-Control"] = "no-store"
        with memory.reservation() as reservation:
            (upload,) = [upload async for upload in read_pictures(request, ONE, reservation)]
            return plain_answer(await engine.predict(_picture(upload)), info)

    @router.post(
        "/v1/predict/batch",
        summary="Classify many pictures",
        response_class=_LinesResponse,
        openapi_extra={"requestBody": {"required": True, "content": form_of(MANY_FIELD)}},
        responses=POST_PROBLEMS | _STREAM,
    )
    async def predict_batch(
        request: Request,
        given: Annotated[tuple[Rule | None, Patient], Depends(asked)],
        activation_map: MapQuery = "none",
    ) -> _LinesResponse:
        """At most 1,000 pictures and 500 MB; each line is an Item in JSON (NDJSON).

        A line comes as soon as its picture and those before it are classified, also while
        later pictures are still being sent. A last line with a problem and without an index
        says why the rest of the request could not be read.
        """
        lines = batch_lines(request, activation_map, *given)
        # An error before the first answer gets the right status.
        first = await anext(lines)
        return _LinesResponse(_chain(first, lines), headers={"Cache-Control": "no-store"})

    async def batch_lines(
        request: Request, map_format: MapFormat, rule: Rule | None, patient: Patient
    ) -> AsyncGenerator[str, None]:
        begun = False
        with batch_memory.reservation() as reservation:
            uploads = read_pictures(request, BATCH, reservation)
            answers = answer_uploads(
                *(engine, info, uploads, reservation),
                ahead=ahead,
                ahead_bytes=ahead_bytes,
                map_format=map_format,
                rule=rule,
                patient=patient,
            )
            try:
                async with aclosing(answers) as items:
                    async for item in items:
                        begun = True
                        yield item.model_dump_json() + "\n"
            except ProblemError as error:
                if not begun:
                    raise
                item = Item(index=None, answer=None, problem=problem_of(error))
                yield item.model_dump_json() + "\n"

    return router


def _picture(upload: Upload) -> bytes:
    if isinstance(upload.picture, ProblemError):
        raise upload.picture
    return upload.picture


async def _each(uploads: Iterable[Upload]) -> AsyncIterator[Upload]:
    for upload in uploads:
        yield upload


async def _chain(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(rest):
        yield first
        async for line in rest:
            yield line
