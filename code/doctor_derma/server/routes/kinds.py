"""Every kind of problem that the server has."""

from dataclasses import dataclass

PROBLEMS_PATH = "/problems"
# No route has as many; a stranger's path may have thousands.
MOST_FOLDERS = 20


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes
    ----------
    name : last part of its address on this server, ``/problems/NAME``
    status : the HTTP status that it comes with
    title : the kind in a few words, the same every time
    meaning : when it happens and what a caller should do
    """

    name: str
    status: int
    title: str
    meaning: str

    def address_from(self, path: str) -> str:
        """Return the URI reference of the page that explains it, relative to a path.

        A proxy may put the server under a path that it doesn't know.
        """
        return "../" * min(path.count("/") - 1, MOST_FOLDERS) + f"{PROBLEMS_PATH[1:]}/{self.name}"


MALFORMED = Kind(
    "malformed",
    400,
    "Malformed request",
    "The form can't be read, was cut off, or holds more pictures than one request may. "
    "Mend the request before it is sent again.",
)
KEY_NEEDED = Kind(
    "key-needed",
    401,
    "API key needed",
    "This server answers only with a key. Send it as 'Authorization: Bearer KEY' or as "
    "'X-API-Key: KEY'.",
)
NOT_FOUND = Kind("not-found", 404, "Nothing here", "There is nothing at this address.")
WRONG_METHOD = Kind(
    "wrong-method",
    405,
    "Method not allowed",
    "The address exists, but not for this method. The header Allow says which it takes.",
)
TOO_SLOW = Kind(
    "too-slow",
    408,
    "Upload too slow",
    "The picture came too slowly or stopped coming, and the server has let go of it. "
    "Send it again over a better connection, or send a smaller one.",
)
TOO_LARGE = Kind(
    "too-large",
    413,
    "Too large",
    "A picture or the whole request has more bytes than the server takes, or a picture more "
    "pixels, or it takes too long to decode. Send a smaller picture, or fewer of them.",
)
WRONG_TYPE = Kind(
    "wrong-type",
    415,
    "Not a picture that can be read",
    "What was sent is no picture in a format that the server reads. The bytes decide, not the "
    "name or the announced type.",
)
UNREADABLE = Kind(
    "unreadable",
    422,
    "Picture can't be decoded",
    "The picture is missing, empty, damaged or truncated.",
)
INVALID = Kind(
    "invalid", 422, "Invalid parameter", "A parameter of the request has a value it can't have."
)
TOO_MANY = Kind(
    "too-many-requests",
    429,
    "Too many requests",
    "This client has too many requests at once. Wait as long as Retry-After says.",
)
FAILED = Kind(
    "failed",
    500,
    "The server has failed",
    "This is a fault of the server, whose log says more under the request's id.",
)
OVERLOADED = Kind(
    "overloaded",
    503,
    "Busy",
    "More pictures are waiting than the server can answer in time. Wait as long as Retry-After "
    "says, then send the same request again.",
)
LATE = Kind(
    "late",
    503,
    "Not answered in time",
    "The picture waited too long and was given up. Send the same request again later.",
)
NOT_READY = Kind(
    "not-ready",
    503,
    "Not ready",
    "The server is starting or stopping and takes no pictures for now.",
)

KINDS = (
    *(MALFORMED, KEY_NEEDED, NOT_FOUND, WRONG_METHOD, TOO_SLOW, TOO_LARGE, WRONG_TYPE),
    *(UNREADABLE, INVALID, TOO_MANY, FAILED, OVERLOADED, LATE, NOT_READY),
)
