"""Reads the pictures of a request: a multipart form, or one picture as the whole body.

Pictures are kept in memory only, and each is passed on as soon as it is complete.
"""

import asyncio
import io
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from doctor_derma.images.formats import MEDIA_TYPES
from doctor_derma.server.problems import (
    MALFORMED,
    TOO_LARGE,
    TOO_SLOW,
    UNREADABLE,
    WRONG_TYPE,
    ProblemError,
)
from doctor_derma.server.schemas import MAX_IMAGE_BYTES
from doctor_derma.server.upload_memory import Reservation

FORM = "multipart/form-data"
FIELD = "image"
MANY_FIELD = "images"
ANY_BYTES = "application/octet-stream"
_RAW_TYPES = (*MEDIA_TYPES, ANY_BYTES)
# Boundaries, part headers and a file name around a picture.
FORM_BYTES = 4_096

# The longest pause, and the time over which bytes are counted: at least so many must arrive, which
# a phone on a poor connection can do. A slower upload takes memory that others could use.
SILENCE_SECONDS = 10.0
LEAST_BYTES = 50_000
# What is still on its way belongs to the refused request, and nothing can follow it.
_CLOSE = {"Connection": "close"}

PIECE_BYTES = 65_536
# Other fields are skipped, but each part is some work.
MAX_PARTS = 1_500
MAX_HEADER_BYTES = 16_000
_CALLBACKS = (
    *("on_part_begin", "on_part_data", "on_part_end", "on_end"),
    *("on_header_field", "on_header_value", "on_header_end"),
)
# It warns of every malformed form, which the client is told already.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


class Limits(NamedTuple):
    """What one request may hold.

    Attributes
    ----------
    pictures : number of them
    body : bytes of the whole request
    fields : form fields that take pictures
    raw : whether one picture may be the whole body, without a form
    """

    pictures: int
    body: int
    fields: frozenset[str] = frozenset({FIELD, MANY_FIELD})
    raw: bool = False


class Upload(NamedTuple):
    """A picture and the form field that it was sent in, or why it was not accepted."""

    field: str
    picture: bytes | ProblemError


async def read_pictures(
    request: Request, limits: Limits, reservation: Reservation
) -> AsyncIterator[Upload]:
    """Yield the encoded pictures of a request, each as soon as it is complete.

    ``reservation`` takes the bytes of every picture that is yielded; the caller gives them back.

    Raises
    ------
    ProblemError
        When the request is too large, too slow, malformed, cut off, of another type, or has
        too many pictures or none; when the server holds too much.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == FORM:
        body = read_body(request, limits.body, reservation)
        uploads = _read_form(body, content_type, limits.fields, reservation)
    elif limits.raw and (media_type.startswith("image/") or media_type in _RAW_TYPES):
        uploads = _read_raw(read_body(request, MAX_IMAGE_BYTES, reservation), reservation)
    else:
        raw = ", or the picture alone with its own Content-Type" if limits.raw else ""
        detail = f"Send {FORM} with the picture in the field '{FIELD}'{raw}."
        raise ProblemError(WRONG_TYPE, detail)
    count = 0
    async for upload in uploads:
        count += 1
        if count > limits.pictures:
            detail = f"Too many files: send at most {limits.pictures} at a time."
            raise ProblemError(MALFORMED, detail)
        yield upload
    if not count:
        raise ProblemError(UNREADABLE, f"There is no file in the field '{FIELD}'.")


async def read_body(request: Request, most: int, reservation: Reservation) -> AsyncIterator[bytes]:
    """Yield the body of a request, chunk by chunk, until it ends or its reservation is evicted.

    Raises
    ------
    ProblemError
        413 as soon as more than ``most`` bytes have come or are announced, 408 when they come
        too slowly or are evicted, 400 when they stop coming, 415 when they are compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(WRONG_TYPE, "The request's body is compressed; send it as it is.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    chunks = request.stream()
    loop = asyncio.get_running_loop()
    received = fresh = 0
    counted = 0.0
    while True:
        began = loop.time()
        try:
            async with asyncio.timeout(SILENCE_SECONDS) as timeout:
                with reservation.waiting(timeout):
                    chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise _too_slow() from error
        except ClientDisconnect as error:
            raise ProblemError(MALFORMED, "The upload was cut off; send it again.") from error
        if chunk is None:
            return
        received += len(chunk)
        if received > most:
            raise _too_large(most)
        fresh += len(chunk)
        # Only the time in which the server has waited for the client.
        counted += loop.time() - began
        if counted > SILENCE_SECONDS:
            if fresh < LEAST_BYTES:
                raise _too_slow()
            counted, fresh = 0.0, 0
        yield chunk


async def _read_raw(body: AsyncIterator[bytes], reservation: Reservation) -> AsyncIterator[Upload]:
    # A BytesIO, unlike a bytearray, hands out its bytes without another copy.
    picture = io.BytesIO()
    async for chunk in body:
        reservation.take(len(chunk))
        picture.write(chunk)
    yield Upload(FIELD, picture.getvalue())


async def _read_form(
    body: AsyncIterator[bytes], content_type: str, fields: frozenset[str], reservation: Reservation
) -> AsyncIterator[Upload]:
    _, options = parse_options_header(content_type)
    if not (boundary := options.get(b"boundary")):
        raise ProblemError(MALFORMED, "The form's Content-Type has no boundary.")
    parts = _FormParts(fields, reservation)
    try:
        callbacks: Any = {name: getattr(parts, name) for name in _CALLBACKS}
        parser = MultipartParser(boundary, callbacks)
        async for chunk in body:
            # A large chunk can hold many pictures; they are passed on one by one.
            for start in range(0, len(chunk), PIECE_BYTES):
                parser.write(chunk[start : start + PIECE_BYTES])
                while parts.found:
                    yield parts.found.popleft()
    except FormParserError as error:
        detail = f"The form can't be read ({error}); send it again."
        raise ProblemError(MALFORMED, detail) from error
    if not parts.ended:
        raise ProblemError(MALFORMED, "The form can't be read: it ends too early; send it again.")


class _FormParts:
    """Collects the parts that a parser finds in the wanted fields; others are skipped."""

    def __init__(self, fields: frozenset[str], reservation: Reservation) -> None:
        self.found: deque[Upload] = deque()
        self.ended = False
        self._fields = fields
        self._reservation = reservation
        self._parts = 0
        self._header, self._value = bytearray(), bytearray()

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise ProblemError(MALFORMED, f"The form has more than {MAX_PARTS:,} parts.")
        self._header_bytes = 0
        self._field: str | None = None
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
        if self._data.tell() + end - start > MAX_IMAGE_BYTES:
            self._too_large = True
            self._reservation.give_back(self._data.tell())
            self._data = io.BytesIO()
            return
        self._reservation.take(end - start)
        self._data.write(memoryview(data)[start:end])

    def on_part_end(self) -> None:
        if self._field is None:
            return
        picture: bytes | ProblemError = self._data.getvalue()
        if self._too_large:
            size = f"{MAX_IMAGE_BYTES // 1_000_000} MB"
            detail = f"The picture is over {size}; send a smaller or more compressed one."
            picture = ProblemError(TOO_LARGE, detail)
        self.found.append(Upload(self._field, picture))
        self._data = io.BytesIO()

    def on_end(self) -> None:
        self.ended = True

    def _count(self, size: int) -> None:
        # A line of the header costs as much as some hundred bytes of it.
        self._header_bytes += size + 100
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ProblemError(MALFORMED, "A part of the form has too long a header.")


def _too_large(most: int) -> ProblemError:
    size = f"{most // 1_000_000} MB"
    detail = f"The upload is over {size}; send less or a more compressed picture."
    return ProblemError(TOO_LARGE, detail, _CLOSE)


def _too_slow() -> ProblemError:
    detail = "The upload was too slow; send it again or send less."
    return ProblemError(TOO_SLOW, detail, _CLOSE)
