"""What requests may carry: API keys, query parameters, and pictures as OpenAPI describes them."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Security
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from doctor_derma.bundle import BundleInfo
from doctor_derma.decisions import Rule
from doctor_derma.errors import DermaError
from doctor_derma.images.formats import MEDIA_TYPES, NAMES
from doctor_derma.inference.patient import OLDEST, Patient, check_patient
from doctor_derma.server.problems import (
    INVALID,
    KEY_NEEDED,
    NOT_FOUND,
    PROBLEM_TYPES,
    WRONG_METHOD,
    ProblemError,
    describe_problems,
    sentence,
)
from doctor_derma.server.schemas import MAX_IMAGE_BYTES, MapFormat
from doctor_derma.server.uploads import ANY_BYTES, FIELD, FORM

POST_PROBLEMS = describe_problems(
    *(each for each in PROBLEM_TYPES if each not in (NOT_FOUND, WRONG_METHOD))
)
MapQuery = Annotated[
    MapFormat, Query(description="Whether and how to draw where the evidence for the label is")
]
RuleQuery = Annotated[
    Rule | None,
    Query(description="Which of the model's rules decides the label; the server's own if none"),
]
AgeQuery = Annotated[
    float | None, Query(ge=0, le=OLDEST, description="Age of the patient in years, where known")
]
SexQuery = Annotated[
    Literal["female", "male"] | None, Query(description="Sex of the patient, where known")
]
SiteQuery = Annotated[
    str | None,
    Query(max_length=100, description="Where on the body: one of patient_sites in GET /v1/model"),
]
_BEARER = HTTPBearer(auto_error=False, description="The key as a bearer token")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The key in its own header")
_PICTURE = {
    "type": "string",
    "format": "binary",
    "description": f"{NAMES}, at most {MAX_IMAGE_BYTES // 1_000_000} MB",
}


def key_needed(keys: frozenset[str]) -> list[Dependency]:
    """Return the dependencies of routes that need one of the keys; none without keys."""
    return [Depends(_check(keys))] if keys else []


def _check(keys: frozenset[str]) -> Callable[..., Awaitable[None]]:
    encoded = [key.encode() for key in keys]

    async def check(
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        header: Annotated[str | None, Security(_HEADER)],
    ) -> None:
        given = bearer.credentials if bearer else header
        if given is None:
            raise _unknown("Send an API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
        received = given.encode("latin-1")  # As HTTP headers are decoded.
        # Every key is compared in full, so that the time tells nothing about any of them.
        matches = [hmac.compare_digest(received, key) for key in encoded]
        if not any(matches):
            raise _unknown("This API key is not one of the server's.")

    return check


def _unknown(detail: str) -> ProblemError:
    return ProblemError(KEY_NEEDED, detail, {"WWW-Authenticate": "Bearer"})


def check_asked(rule: Rule | None, patient: Patient, info: BundleInfo) -> None:
    """Refuse a rule that the model does not have, and patient data that it can't make use of.

    Raises
    ------
    ProblemError
        422 then.
    """
    try:
        info.rulebook.check(rule or info.decision.default)
        check_patient(patient, info)
    except DermaError as error:
        raise ProblemError(INVALID, sentence(str(error))) from error


def form_of(*fields: str) -> dict[str, Any]:
    """Describe a multipart form: one picture in ``image``, any number in any other field."""
    many = {"type": "array", "items": _PICTURE, "description": f"Several of {NAMES}"}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {field: _PICTURE if field == FIELD else many for field in fields},
    }
    if len(fields) == 1:
        schema["required"] = list(fields)
    return {FORM: {"schema": schema}}


def raw_pictures() -> dict[str, Any]:
    """Describe a picture that is the whole body."""
    return {media_type: {"schema": _PICTURE} for media_type in (*MEDIA_TYPES, ANY_BYTES)}
