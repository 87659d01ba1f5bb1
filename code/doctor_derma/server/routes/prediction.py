"""``POST /v1/predict`` and ``POST /predict``: pictures in, answers out."""

from collections.abc import AsyncIterator, Iterable

from fastapi import APIRouter, Request, Response

from doctor_derma.bundle import BundleInfo
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.problems import ProblemError
from doctor_derma.server.routes.answering import answer_item, answer_picture
from doctor_derma.server.routes.form import Upload
from doctor_derma.server.routes.keys import key_needed
from doctor_derma.server.routes.memory import UploadMemory
from doctor_derma.server.routes.outcomes import classify_uploads, pictures_ahead
from doctor_derma.server.routes.requests import (
    POST_PROBLEMS,
    MapQuery,
    RuleQuery,
    check_rule,
    form_of,
    raw_pictures,
)
from doctor_derma.server.routes.upload import (
    FIELD,
    FORM_BYTES,
    MANY_FIELD,
    MAX_IMAGE_BYTES,
    Limits,
    read_pictures,
)
from doctor_derma.server.schemas import Answer, Answers, PlainAnswer, plain_answer
from doctor_derma.server.settings import Settings

MAX_PICTURES = 32
ONE = Limits(1, MAX_IMAGE_BYTES + FORM_BYTES, frozenset({FIELD}))
SOME = Limits(MAX_PICTURES, 2 * MAX_IMAGE_BYTES + MAX_PICTURES * FORM_BYTES, raw=True)


def prediction_routes(engine: Engine, info: BundleInfo, settings: Settings) -> APIRouter:
    """Return the routes that classify pictures and answer with one JSON object."""
    router = APIRouter(tags=["prediction"], dependencies=key_needed(settings.api_keys))
    ahead = pictures_ahead(settings)
    memory = UploadMemory()

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
        activation_map: MapQuery = "none",
        rule: RuleQuery = None,
    ) -> Answer | Answers:
        """Several pictures are each answered or refused; a bad one doesn't fail the others.

        Pictures are decoded in memory, classified and forgotten: never stored or logged.
        """
        check_rule(rule, info)
        response.headers["Cache-Control"] = "no-store"
        with memory.share() as share:
            uploads = [upload async for upload in read_pictures(request, SOME, share)]
            if len(uploads) == 1 and uploads[0].field == FIELD:
                picture = _taken(uploads[0])
                prediction = await engine.predict(picture, rule)
                return await answer_picture(prediction, info, activation_map)
            outcomes = classify_uploads(engine, _each(uploads), share, ahead, rule)
            items = [await answer_item(outcome, info, activation_map) async for outcome in outcomes]
        return Answers(items=items)

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
        with memory.share() as share:
            (upload,) = [upload async for upload in read_pictures(request, ONE, share)]
            return plain_answer(await engine.predict(_taken(upload)), info)

    return router


def _taken(upload: Upload) -> bytes:
    if isinstance(upload.picture, ProblemError):
        raise upload.picture
    return upload.picture


async def _each(uploads: Iterable[Upload]) -> AsyncIterator[Upload]:
    for upload in uploads:
        yield upload
