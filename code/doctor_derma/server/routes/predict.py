"""Prediction: ``POST /v1/predict``, ``/v1/predict/batch`` and ``/predict``."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import Rule
from doctor_derma.errors import DermaError
from doctor_derma.images.formats import MEDIA_TYPES, NAMES
from doctor_derma.inference.patient import OLDEST, Patient, check_patient
from doctor_derma.server.access import key_needed
from doctor_derma.server.answers import Asked, answer_picture, answer_uploads, pictures_ahead
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.problems import (
    INVALID,
    NOT_FOUND,
    PROBLEM_TYPES,
    WRONG_METHOD,
    ProblemError,
    describe_problems,
    problem_of,
    sentence,
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
    ANY_BYTES,
    FIELD,
    FORM,
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
_PROBLEMS = describe_problems(
    *(each for each in PROBLEM_TYPES if each not in (NOT_FOUND, WRONG_METHOD))
)
_PICTURE = {
    "type": "string",
    "format": "binary",
    "description": f"{NAMES}, at most {MAX_IMAGE_BYTES // 1_000_000} MB",
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
        activation_map: Annotated[
            MapFormat,
            Query(description="Whether and how to draw where the evidence for the label is"),
        ] = "none",
        rule: Annotated[
            Rule | None,
            Query(
                description="Which of the model's rules decides the label; the server's own if none"
            ),
        ] = None,
        age: Annotated[
            float | None,
            Query(ge=0, le=OLDEST, description="Age of the patient in years, where known"),
        ] = None,
        sex: Annotated[
            Literal["female", "male"] | None,
            Query(description="Sex of the patient, where known"),
        ] = None,
        site: Annotated[
            str | None,
            Query(
                max_length=100,
                description="Where on the body: one of patient_sites in GET /v1/model",
            ),
        ] = None,
    ) -> Asked:
        patient = Patient(age, sex, site)
        try:
            info.rulebook.check(rule or info.decision.default)
            check_patient(patient, info)
        except DermaError as error:
            raise ProblemError(INVALID, sentence(str(error))) from error
        return Asked(activation_map, rule, patient)

    @router.post(
        "/v1/predict",
        summary="Classify one picture or a few",
        response_description="An Answer for one picture in 'image'; Answers for several or for "
        "'images'",
        openapi_extra=_body(_form(FIELD, MANY_FIELD) | _raw_pictures()),
        responses=_PROBLEMS,
    )
    async def predict(
        request: Request, response: Response, given: Annotated[Asked, Depends(asked)]
    ) -> Answer | Answers:
        """Several pictures are each answered or refused; a bad one doesn't fail the others.

        Age, sex and site, for a model that takes them, are of all pictures of the request.

        Pictures are decoded in memory, classified and forgotten: never stored or logged.
        """
        response.headers["Cache-Control"] = "no-store"
        with memory.reservation() as reservation:
            uploads = [upload async for upload in read_pictures(request, SOME, reservation)]
            if len(uploads) == 1 and uploads[0].field == FIELD:
                prediction = await engine.predict(_picture(uploads[0]), given.rule, given.patient)
                return await answer_picture(prediction, info, given.map_format)
            items = answer_uploads(engine, info, _each(uploads), reservation, given, ahead)
            return Answers(items=[item async for item in items])

    @router.post(
        "/predict",
        summary="Classify one picture, as before /v1",
        response_description="The ranked classes and the activation map",
        openapi_extra=_body(_form(FIELD)),
        responses=_PROBLEMS,
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
        openapi_extra=_body(_form(MANY_FIELD)),
        responses=_PROBLEMS | _STREAM,
    )
    async def predict_batch(
        request: Request, given: Annotated[Asked, Depends(asked)]
    ) -> _LinesResponse:
        """At most 1,000 pictures and 500 MB; each line is an Item in JSON (NDJSON).

        A line comes as soon as its picture and those before it are classified, also while
        later pictures are still being sent. A last line with a problem and without an index
        says why the rest of the request could not be read.
        """
        lines = batch_lines(request, given)
        # An error before the first answer gets the right status.
        first = await anext(lines)
        return _LinesResponse(_chain(first, lines), headers={"Cache-Control": "no-store"})

    async def batch_lines(request: Request, given: Asked) -> AsyncGenerator[str, None]:
        begun = False
        with batch_memory.reservation() as reservation:
            uploads = read_pictures(request, BATCH, reservation)
            answers = answer_uploads(engine, info, uploads, reservation, given, ahead, ahead_bytes)
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


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


def _form(*fields: str) -> dict[str, Any]:
    """Describe a multipart form: one picture in ``image``, any number in any other field."""
    many = {"type": "array", "items": _PICTURE, "description": f"Several of {NAMES}"}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {field: _PICTURE if field == FIELD else many for field in fields},
    }
    if len(fields) == 1:
        schema["required"] = list(fields)
    return {FORM: {"schema": schema}}


def _raw_pictures() -> dict[str, Any]:
    return {media_type: {"schema": _PICTURE} for media_type in (*MEDIA_TYPES, ANY_BYTES)}


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
