"""``GET /healthz`` and ``GET /readyz``: whether the server lives, and whether it takes pictures."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from doctor_derma.bundle import BundleInfo
from doctor_derma.server.engine import Engine
from doctor_derma.server.routes.answer import ModelName
from doctor_derma.server.routes.kinds import NOT_READY
from doctor_derma.server.routes.problem import Refusal, describe

RETRY_SECONDS = 1


class Health(BaseModel):
    """The server is up and its model is loaded."""

    status: Literal["ok"] = "ok"
    model: ModelName


class Readiness(BaseModel):
    """The server takes pictures."""

    status: Literal["ready"] = "ready"


def health_routes(engine: Engine, info: BundleInfo) -> APIRouter:
    """Return the routes that say how the server is."""
    router = APIRouter(tags=["health"])
    health = Health(model=ModelName.of(info))

    @router.get(
        "/healthz",
        summary="Whether the server is well",
        response_description="It is",
        responses=describe(),
    )
    async def healthz() -> Health:
        return health

    @router.get(
        "/readyz",
        summary="Whether the server takes pictures",
        response_description="It does",
        responses=describe(NOT_READY),
    )
    async def readyz() -> Readiness:
        if not engine.ready:
            raise Refusal(
                NOT_READY,
                "The server is starting or stopping; ask again in a moment.",
                {"Retry-After": str(RETRY_SECONDS)},
            )
        return Readiness()

    return router
