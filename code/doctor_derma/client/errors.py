"""What can go wrong between a client and its server."""

from doctor_derma.errors import DermaError


class ProblemError(DermaError):
    """The server refused a request or a picture; see its ``/docs`` for all its problems.

    Attributes
    ----------
    status : the HTTP status
    title : the kind of problem in a few words
    detail : what was wrong this time
    type : URI reference of the kind, such as ``/problems/too-large``
    instance : the request's id in the server's log, if it has one
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        type: str = "about:blank",
        instance: str | None = None,
    ) -> None:
        super().__init__(f"{title} ({status}): {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.instance = instance


class Unreachable(DermaError):  # noqa: N818
    """The server did not answer, however often it was asked."""


class UnexpectedAnswer(DermaError):  # noqa: N818
    """What answered is no Doctor Derma, or one of another version."""
