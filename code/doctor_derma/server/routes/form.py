"""The files of a multipart form, each as soon as it has come, kept in memory and nowhere else."""

import io
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from doctor_derma.server.problems import MALFORMED, TOO_LARGE, ProblemError
from doctor_derma.server.routes.memory import Share

PIECE_BYTES = 65_536
# Other fields are skipped, but each part is some work.
MAX_PARTS = 1_500
MAX_HEADER_BYTES = 16_000
# It warns of every malformed form; whoever sent it is told already.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


class Upload(NamedTuple):
    """A picture that was sent, in the field it was sent in; or why it was not taken."""

    field: str
    picture: bytes | ProblemError


class _FormParts:
    """Collects the parts that a parser finds in the wanted fields."""

    def __init__(self, fields: frozenset[str], most_bytes: int, share: Share) -> None:
        self._parts = 0
        self._header_bytes = 0
        self.found: deque[Upload] = deque()
        self.ended = False
        self._fields = fields
        self._most_bytes = most_bytes
        self._share = share
        self._header, self._value = bytearray(), bytearray()
        self._field: str | None = None
        self._data = io.BytesIO()
        self._too_large = False

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise ProblemError(MALFORMED, f"The form has more than {MAX_PARTS:,} parts.")
        self._header_bytes = 0
        self._field = None
        self._data = io.BytesIO()
        self._too_large = False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            name = options.get(b"name", b"").decode(errors="replace")
            self._field = name if name in self._fields else None
        self._header, self._value = bytearray(), bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None or self._too_large:
            return
        if self._data.tell() + end - start > self._most_bytes:
            self._too_large = True
            self._share.give(self._data.tell())
            self._data = io.BytesIO()
            return
        self._share.take(end - start)
        self._data.write(memoryview(data)[start:end])

    def on_part_end(self) -> None:
        if self._field is None:
            return
        self.found.append(Upload(self._field, self._picture()))
        self._data = io.BytesIO()

    def _count(self, size: int) -> None:
        # A line of the header costs as much as some hundred bytes of it.
        self._header_bytes += size + 100
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ProblemError(MALFORMED, "A part of the form has too long a header.")

    def on_end(self) -> None:
        self.ended = True

    def _picture(self) -> bytes | ProblemError:
        if not self._too_large:
            return self._data.getvalue()
        megabytes = self._most_bytes // 1_000_000
        return ProblemError(
            TOO_LARGE,
            f"The picture is over {megabytes} MB; send a smaller or more compressed one.",
        )


async def read_form(
    body: AsyncIterator[bytes],
    content_type: str,
    fields: frozenset[str],
    most_bytes: int,
    share: Share,
) -> AsyncIterator[Upload]:
    """Yield the pictures of a multipart/form-data body.

    Parameters
    ----------
    content_type : the header, with the boundary in it
    fields : names of the fields that hold pictures; others are skipped
    most_bytes : of one picture; a larger one is skipped and yielded as its refusal
    share : takes the bytes of every picture that is yielded; the caller gives them back

    Raises
    ------
    ProblemError
        400 when the form is malformed or ends too early, 503 when the server holds too much.
    """
    _, options = parse_options_header(content_type)
    if not (boundary := options.get(b"boundary")):
        raise ProblemError(MALFORMED, "The form's Content-Type has no boundary.")
    parts = _FormParts(fields, most_bytes, share)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.on_part_begin,
                "on_part_data": parts.on_part_data,
                "on_part_end": parts.on_part_end,
                "on_header_field": parts.on_header_field,
                "on_header_value": parts.on_header_value,
                "on_header_end": parts.on_header_end,
                "on_end": parts.on_end,
            },
        )
        async for chunk in body:
            # A large chunk can hold many pictures, and those further on have to wait.
            for start in range(0, len(chunk), PIECE_BYTES):
                parser.write(chunk[start : start + PIECE_BYTES])
                while parts.found:
                    yield parts.found.popleft()
    except FormParserError as error:
        raise ProblemError(
            MALFORMED, f"The form can't be read ({error}); send it again."
        ) from error
    if not parts.ended:
        raise ProblemError(MALFORMED, "The form can't be read: it ends too early; send it again.")
