"""How the server says no: problem details (RFC 9457)."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from doctor_derma.server.request import CURRENT
from doctor_derma.server.routes.kinds import Kind

PROBLEM_TYPE = "application/problem+json"


class Problem(BaseModel):
    """The body of every answer that is an error, ``application/problem+json`` (RFC 9457)."""

    type: str = Field(description="URI reference of a page that explains this kind of problem")
    title: str = Field(description="The kind of problem in a few words")
    status: int = Field(ge=400, le=599, description="The HTTP status, once more")
    detail: str = Field(description="What is wrong this time and what to do")
    instance: str | None = Field(default=None, description="The request's id, as in the log")

    @classmethod
    def of(
        cls, kind: Kind, detail: str, instance: str | None = None, path: str = "/v1/predict"
    ) -> "Problem":
        """Describe one problem of a kind, met at a path."""
        return cls(
            type=kind.address_from(path),
            title=kind.title,
            status=kind.status,
            detail=detail,
            instance=instance,
        )

    @classmethod
    def of_status(cls, status: int, detail: str, instance: str | None = None) -> "Problem":
        """Describe a problem that has no kind of its own, as RFC 9457 section 4.2.1 asks."""
        title = HTTPStatus(status).phrase
        return cls(type="about:blank", title=title, status=status, detail=detail, instance=instance)


class Refusal(HTTPException):
    """A request, or one picture of it, that gets a problem instead of an answer."""

    def __init__(self, kind: Kind, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(kind.status, detail, headers)
        self.kind = kind


def refusal_problem(refusal: HTTPException) -> Problem:
    """Return the problem that a client is told, with the id of the request under way."""
    record = CURRENT.get()
    instance = record.id if record else None
    if isinstance(refusal, Refusal):
        return Problem.of(refusal.kind, refusal.detail, instance, record.path if record else "/")
    return Problem.of_status(refusal.status_code, refusal.detail, instance)


def problem_response(refusal: HTTPException) -> Response:
    """Return the answer to a request that is refused."""
    return Response(
        refusal_problem(refusal).model_dump_json(exclude_none=True),
        refusal.status_code,
        {**(refusal.headers or {}), "Cache-Control": "no-store"},
        PROBLEM_TYPE,
    )


def describe(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that can have these problems, for OpenAPI."""
    by_status: dict[int | str, list[Kind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    responses: dict[int | str, dict[str, Any]] = {
        status: _response(". ".join(kind.title for kind in same), same)
        for status, same in by_status.items()
    }
    return responses | {"default": _response("Any other problem", [])}


def _response(description: str, kinds: list[Kind]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if kinds:
        content["examples"] = {
            kind.name: {
                "summary": kind.title,
                "value": Problem.of(kind, kind.meaning).model_dump(exclude_none=True),
            }
            for kind in kinds
        }
    return {"description": description, "content": {PROBLEM_TYPE: content}}
