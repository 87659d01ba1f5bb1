"""``GET /v1/model``, its card, and ``GET /model``: which model the server runs."""

import functools
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel, Field

from doctor_derma.bundle import BundleInfo, DiagnosisName, read_card
from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.problems import NOT_FOUND, ProblemError, describe_problems
from doctor_derma.server.routes.pages import card_html
from doctor_derma.server.schemas import CARD_PATH, MODEL_PATH, ModelName, Provenance

CARD_PAGE = "/card"
MARKDOWN = "text/markdown"


class MarkdownResponse(PlainTextResponse):
    """An answer of the type ``text/markdown``."""

    media_type = MARKDOWN


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
    card = _read_card(bundle)
    description = ModelDescription(**provenance.model_dump())

    @router.get(
        MODEL_PATH,
        summary="What the server's model is and where it comes from",
        response_description="Its provenance",
        responses=describe_problems(),
    )
    async def provenance_of_model() -> Provenance:
        return provenance

    @router.get(
        CARD_PATH,
        summary="The model card",
        response_class=MarkdownResponse,
        responses={
            **describe_problems(NOT_FOUND),
            200: {"description": "Markdown", "content": {MARKDOWN: {"schema": {"type": "string"}}}},
        },
    )
    async def card_of_model() -> MarkdownResponse:
        return MarkdownResponse(_present(card))

    @functools.cache
    def card_page() -> str | None:
        return None if card is None else card_html(card)

    # In a thread of its own, as rendering takes a fifth of a second, once.
    @router.get(CARD_PAGE, include_in_schema=False)
    def page_of_card() -> HTMLResponse:
        return HTMLResponse(_present(card_page()))

    @router.get(
        "/model",
        summary="Which model the server runs, as before /v1",
        response_description="Its description",
        responses=describe_problems(),
    )
    async def model() -> ModelDescription:
        return description

    return router


def _read_card(bundle: Path) -> str | None:
    try:
        return read_card(bundle)
    except DermaError:  # The model answers all the same.
        return None


def _present(card: str | None) -> str:
    if card is None:
        raise ProblemError(NOT_FOUND, "This model's bundle has no card that can be read.")
    return card
