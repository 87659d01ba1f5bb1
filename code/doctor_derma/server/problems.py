"""Problem details (RFC 9457): the problem types of this server, and the answers that carry them."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from doctor_derma.images.decoding import Fault
from doctor_derma.images.formats import NAMES
from doctor_derma.server.logs import CURRENT, RequestRecord

PROBLEM_MEDIA_TYPE = "application/problem+json"
PROBLEMS_PATH = "/problems"
# No route has as many folders; the path of a request may have thousands.
MAX_FOLDERS = 20


@dataclass(frozen=True)
class ProblemType:
    """A type of problem.

    Attributes
    ----------
    name : last part of its address on this server, ``/problems/NAME``
    status : the HTTP status that it comes with
    title : the type in a few words, the same every time
    meaning : when it happens and what a caller should do
    """

    name: str
    status: int
    title: str
    meaning: str

    def uri_from(self, path: str) -> str:
        """Return the URI reference of the page that explains it, relative to a path.

        A proxy may put the server under a path that it doesn't know.
        """
        return "../" * min(path.count("/") - 1, MAX_FOLDERS) + f"{PROBLEMS_PATH[1:]}/{self.name}"


MALFORMED = ProblemType(
    *("malformed", 400, "Malformed request"),
    "The form can't be read, was cut off, or holds more pictures than one request may. "
    "Mend the request before it is sent again.",
)
KEY_NEEDED = ProblemType(
    *("key-needed", 401, "API key needed"),
    "This server answers only with a key. Send it as 'Authorization: Bearer KEY' or as "
    "'X-API-Key: KEY'.",
)
NOT_FOUND = ProblemType("not-found", 404, "Nothing here", "There is nothing at this address.")
WRONG_METHOD = ProblemType(
    *("wrong-method", 405, "Method not allowed"),
    "The address exists, but not for this method. The header Allow says which it takes.",
)
TOO_SLOW = ProblemType(
    *("too-slow", 408, "Upload too slow"),
    "The upload was too slow or stopped, and the server has let go of it. "
    "Send it again over a better connection, or send a smaller one.",
)
TOO_LARGE = ProblemType(
    *("too-large", 413, "Too large"),
    "A picture or the whole request has more bytes than the server takes, or a picture more "
    "pixels, or it takes too long to decode. Send a smaller picture, or fewer of them.",
)
WRONG_TYPE = ProblemType(
    *("wrong-type", 415, "Not a picture that can be read"),
    "What was sent is no picture in a format that the server reads. The bytes decide, not the "
    "name or the announced type.",
)
UNREADABLE = ProblemType(
    *("unreadable", 422, "Picture can't be decoded"),
    "The picture is missing, empty, damaged or truncated.",
)
INVALID = ProblemType(
    *("invalid", 422, "Invalid parameter"),
    "A parameter of the request has a value it can't have.",
)
TOO_MANY = ProblemType(
    *("too-many-requests", 429, "Too many requests"),
    "This client has too many requests at once. Wait as long as Retry-After says.",
)
FAILED = ProblemType(
    *("failed", 500, "The server has failed"),
    "This is a fault of the server, whose log says more under the request's id.",
)
OVERLOADED = ProblemType(
    *("overloaded", 503, "Busy"),
    "More pictures are waiting than the server can answer in time. Wait as long as Retry-After "
    "says, then send the same request again.",
)
LATE = ProblemType(
    *("late", 503, "Not answered in time"),
    "The picture waited too long and was given up. Send the same request again later.",
)
NOT_READY = ProblemType(
    *("not-ready", 503, "Not ready"),
    "The server is starting or stopping and takes no pictures for now.",
)
PROBLEM_TYPES = (
    *(MALFORMED, KEY_NEEDED, NOT_FOUND, WRONG_METHOD, TOO_SLOW, TOO_LARGE, WRONG_TYPE),
    *(UNREADABLE, INVALID, TOO_MANY, FAILED, OVERLOADED, LATE, NOT_READY),
)
_FAULTS: dict[Fault, ProblemType] = {
    "damaged": UNREADABLE,
    "foreign": WRONG_TYPE,
    "unsupported": WRONG_TYPE,
    "large": TOO_LARGE,
}


class Problem(BaseModel):
    """The body of every answer that is an error, ``application/problem+json`` (RFC 9457)."""

    type: str = Field(description="URI reference of a page that explains this kind of problem")
    title: str = Field(description="The kind of problem in a few words")
    status: int = Field(ge=400, le=599, description="The HTTP status, once more")
    detail: str = Field(description="What is wrong this time and what to do")
    instance: str | None = Field(default=None, description="The request's id, as in the log")

    @classmethod
    def of(
        cls, type: ProblemType, detail: str, instance: str | None = None, path: str = "/v1/predict"
    ) -> "Problem":
        """Describe one problem of a type, met at a path."""
        return cls(
            type=type.uri_from(path),
            title=type.title,
            status=type.status,
            detail=detail,
            instance=instance,
        )


class ProblemError(HTTPException):
    """A request, or one picture of it, that gets a problem instead of an answer.

    Parameters
    ----------
    type : of the problem
    detail : what is wrong this time and what to do
    headers : of the answer, besides
    retry_after : whole seconds after which the same request may succeed
    """

    def __init__(
        self,
        type: ProblemType,
        detail: str,
        headers: dict[str, str] | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        if retry_after is not None:
            headers = {**(headers or {}), "Retry-After": str(retry_after)}
        super().__init__(type.status, detail, headers)
        self.type = type


def unreadable(reason: str, kind: Fault) -> ProblemError:
    """Return the problem of a picture that can't be decoded, see ``UnreadableImage``."""
    advice = f"; send {NAMES}" if kind == "foreign" else ""
    return ProblemError(_FAULTS[kind], sentence(f"{reason}{advice}"))


def sentence(message: str) -> str:
    """Return a message with a capital at its beginning and a full stop at its end."""
    return f"{message[:1].upper()}{message[1:]}."


def problem_of(error: HTTPException, record: RequestRecord | None = None) -> Problem:
    """Return the problem details of an error, with the id of a request, the current one if None.

    An error of another status than those of ``PROBLEM_TYPES`` has the type ``about:blank``
    (RFC 9457, section 4.2.1).
    """
    record = record or CURRENT.get()
    instance = record.id if record else None
    if isinstance(error, ProblemError):
        return Problem.of(error.type, error.detail, instance, record.path if record else "/")
    status = error.status_code
    return Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.detail,
        instance=instance,
    )


def problem_response(error: HTTPException, record: RequestRecord | None = None) -> Response:
    """Return an error as the response to a request, the current one if None."""
    return Response(
        problem_of(error, record).model_dump_json(exclude_none=True),
        error.status_code,
        {**(error.headers or {}), "Cache-Control": "no-store"},
        PROBLEM_MEDIA_TYPE,
    )


def describe_problems(*types: ProblemType) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that can have these problems, for OpenAPI."""
    by_status: dict[int | str, list[ProblemType]] = {}
    for each in types:
        by_status.setdefault(each.status, []).append(each)
    described = {
        status: _described(". ".join(each.title for each in same), same)
        for status, same in by_status.items()
    }
    return {**described, "default": _described("Any other problem", [])}


def _described(description: str, types: list[ProblemType]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    if types:
        content["examples"] = {
            each.name: {
                "summary": each.title,
                "value": Problem.of(each, each.meaning).model_dump(exclude_none=True),
            }
            for each in types
        }
    return {"description": description, "content": {PROBLEM_MEDIA_TYPE: content}}
