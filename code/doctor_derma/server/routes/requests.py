"""What the routes that take pictures have in common in their OpenAPI description."""

from typing import Annotated, Any

from fastapi import Query

from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import Rule
from doctor_derma.errors import DermaError
from doctor_derma.server.problems import (
    FAILED,
    INVALID,
    KEY_NEEDED,
    LATE,
    MALFORMED,
    NOT_READY,
    OVERLOADED,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    UNREADABLE,
    WRONG_TYPE,
    ProblemError,
    describe_problems,
)
from doctor_derma.server.routes.upload import (
    ANY_BYTES,
    FIELD,
    FORM,
    FORMATS,
    MAX_IMAGE_BYTES,
    RAW_TYPES,
)
from doctor_derma.server.schemas import MapForm

POST_PROBLEMS = describe_problems(
    *(MALFORMED, KEY_NEEDED, TOO_SLOW, TOO_LARGE, WRONG_TYPE, UNREADABLE, INVALID),
    *(TOO_MANY, FAILED, OVERLOADED, LATE, NOT_READY),
)
MapQuery = Annotated[
    MapForm, Query(description="Whether and how to draw where the evidence for the label is")
]
RuleQuery = Annotated[
    Rule | None,
    Query(description="Which of the model's rules decides the label; the server's own if none"),
]
_PICTURE = {
    "type": "string",
    "format": "binary",
    "description": f"{FORMATS}, at most {MAX_IMAGE_BYTES // 1_000_000} MB",
}


def check_rule(rule: Rule | None, info: BundleInfo) -> None:
    """Refuse a rule that the model does not have.

    Raises
    ------
    ProblemError
        422 then.
    """
    try:
        info.rulebook.check(rule or info.decision.default)
    except DermaError as error:
        raise ProblemError(INVALID, f"{str(error)[:1].upper()}{str(error)[1:]}.") from error


def form_of(*fields: str) -> dict[str, Any]:
    """Describe a multipart form: one picture in ``image``, any number in any other field."""
    many = {"type": "array", "items": _PICTURE, "description": f"Several of {FORMATS}"}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {field: _PICTURE if field == FIELD else many for field in fields},
    }
    if len(fields) == 1:
        schema["required"] = list(fields)
    return {FORM: {"schema": schema}}


def raw_pictures() -> dict[str, Any]:
    """Describe a picture that is the whole body."""
    return {media_type: {"schema": _PICTURE} for media_type in (*RAW_TYPES, ANY_BYTES)}
