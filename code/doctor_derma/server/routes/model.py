"""``GET /v1/model``, its card, and ``GET /model``: which model the server runs."""

import functools
from contextlib import suppress
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from doctor_derma.bundle import BundleInfo, DiagnosisName, read_card
from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.problems import NOT_FOUND, ProblemError, describe_problems
from doctor_derma.server.routes.pages import card_html
from doctor_derma.server.schemas import CARD_PATH, MODEL_PATH, ModelName, Provenance

CARD_PAGE = "/card"
MARKDOWN = "text/markdown"


class TrainingData(BaseModel):
    """What the model was trained on."""

    name: str
    licence: str
    images: dict[str, int] = Field(description="Number of images a split")


class ModelDescription(ModelName):
    """The part of model.json that is of use to people."""

    architecture: str
    created: str
    classes: list[DiagnosisName]
    metrics: dict[str, dict[str, float]] = Field(description="Split (val, test) to metric to value")
    data: TrainingData
    notice: str = Field(default=NOTICE, description=NOTICE)


def model_routes(info: BundleInfo, bundle: Path) -> APIRouter:
    """Return the routes that describe the server's model."""
    router = APIRouter(tags=["model"])
    provenance = Provenance.of_bundle(info)
    description = ModelDescription(**provenance.model_dump())
    card: str | None = None
    with suppress(DermaError):  # The model answers all the same.
        card = read_card(bundle)

    @router.get(
        MODEL_PATH,
        summary="What the server's model is and where it comes from",
        response_description="Its provenance",
        responses=describe_problems(),
    )
    async def provenance_of_model() -> Provenance:
        return provenance

    def present() -> str:
        if card is None:
            raise ProblemError(NOT_FOUND, "This model's bundle has no card that can be read.")
        return card

    @functools.cache
    def card_page() -> str:
        return card_html(present())

    @router.get(
        CARD_PATH,
        summary="The model card",
        response_class=Response,
        responses={
            **describe_problems(NOT_FOUND),
            200: {"description": "Markdown", "content": {MARKDOWN: {"schema": {"type": "string"}}}},
        },
    )
    async def card_of_model() -> Response:
        return Response(present(), media_type=MARKDOWN)

    # In a thread of its own, as rendering takes a fifth of a second, once.
    @router.get(CARD_PAGE, include_in_schema=False)
    def page_of_card() -> HTMLResponse:
        return HTMLResponse(card_page())

    @router.get(
        "/model",
        summary="Which model the server runs, as before /v1",
        response_description="Its description",
        responses=describe_problems(),
    )
    async def model() -> ModelDescription:
        return description

    return router
