"""``GET /healthz`` and ``GET /readyz``: whether the server lives, and whether it takes pictures."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from doctor_derma.bundle import BundleInfo
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.problems import NOT_READY, ProblemError, describe_problems
from doctor_derma.server.schemas import ModelName

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
        responses=describe_problems(),
    )
    async def healthz() -> Health:
        return health

    @router.get(
        "/readyz",
        summary="Whether the server takes pictures",
        response_description="It does",
        responses=describe_problems(NOT_READY),
    )
    async def readyz() -> Readiness:
        if not engine.ready:
            raise ProblemError(
                NOT_READY,
                "The server is starting or stopping; ask again in a moment.",
                {"Retry-After": str(RETRY_SECONDS)},
            )
        return Readiness()

    return router
