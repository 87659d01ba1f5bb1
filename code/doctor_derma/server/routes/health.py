"""Health: ``GET /healthz`` and ``/readyz`` for probes, and ``/metrics`` for Prometheus."""

from collections.abc import Sequence
from typing import Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from doctor_derma.bundle import BundleInfo
from doctor_derma.server.access import key_needed
from doctor_derma.server.engine.engine import Engine
from doctor_derma.server.metrics import METRICS_PATH, Metrics
from doctor_derma.server.problems import NOT_READY, ProblemError, describe_problems
from doctor_derma.server.schemas import ModelName

RETRY_SECONDS = 1


class Health(BaseModel):
    """The server is up and its model is loaded."""

    status: Literal["ok"] = "ok"
    model: ModelName
    providers: list[str] = Field(
        description="Execution providers of ONNX Runtime that compute it, by preference"
    )


class Readiness(BaseModel):
    """The server takes pictures."""

    status: Literal["ready"] = "ready"


def health_routes(engine: Engine, info: BundleInfo, providers: Sequence[str]) -> APIRouter:
    """Return the routes for probes; ``providers`` is that of the ``Classifier``."""
    router = APIRouter(tags=["health"])
    health = Health(model=ModelName.of(info), providers=list(providers))

    @router.get(
        "/healthz",
        summary="Whether the server is healthy",
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
            detail = "The server is starting or stopping; ask again in a moment."
            raise ProblemError(NOT_READY, detail, retry_after=RETRY_SECONDS)
        return Readiness()

    return router


def metrics_routes(metrics: Metrics, api_keys: frozenset[str]) -> APIRouter:
    """Return the route that Prometheus scrapes; with one of the keys, where there are any."""
    router = APIRouter(tags=["health"], dependencies=key_needed(api_keys))
    one_at_a_time = CapacityLimiter(1)

    @router.get(
        METRICS_PATH,
        summary="Figures for Prometheus",
        response_class=PlainTextResponse,
        response_description="The text format, or OpenMetrics where that is asked for",
        responses=describe_problems(),
    )
    async def metrics_page(request: Request) -> Response:
        # Milliseconds, which pictures would wait for; one at a time, however many ask.
        accept = request.headers.get("accept", "")
        content, content_type = await to_thread.run_sync(
            metrics.exposition, accept, limiter=one_at_a_time
        )
        return Response(content, headers={"Content-Type": content_type})

    return router
