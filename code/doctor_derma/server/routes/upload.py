"""The pictures of a request: a multipart form, or one picture as the whole body."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request

from doctor_derma.server.problems import MALFORMED, UNREADABLE, WRONG_TYPE, ProblemError
from doctor_derma.server.routes.body import read_body
from doctor_derma.server.routes.form import Upload, read_form
from doctor_derma.server.routes.memory import Share

FORM = "multipart/form-data"
FIELD = "image"
MANY_FIELD = "images"
FORMATS = "JPEG, PNG, WebP, TIFF or BMP"
MAX_IMAGE_BYTES = 20_000_000
# Boundaries, part headers and a file name around a picture.
FORM_BYTES = 4_096
RAW_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp")
ANY_BYTES = "application/octet-stream"


@dataclass(frozen=True)
class Limits:
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


async def read_pictures(request: Request, limits: Limits, share: Share) -> AsyncIterator[Upload]:
    """Yield the encoded pictures of a request, each as soon as it has come.

    Raises
    ------
    ProblemError
        When the request is too large, too slow, malformed, cut off, of another type, or has
        too many pictures or none.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == FORM:
        body = read_body(request, limits.body, share)
        uploads = read_form(body, content_type, limits.fields, MAX_IMAGE_BYTES, share)
    elif limits.raw and (media_type.startswith("image/") or media_type == ANY_BYTES):
        uploads = _read_raw(read_body(request, MAX_IMAGE_BYTES, share), share)
    else:
        raise _wrong_type(limits)
    count = 0
    async for upload in uploads:
        count += 1
        if count > limits.pictures:
            raise ProblemError(
                MALFORMED, f"Too many files: send at most {limits.pictures} at a time."
            )
        yield upload
    if not count:
        raise ProblemError(UNREADABLE, f"There is no file in the field '{FIELD}'.")


async def _read_raw(body: AsyncIterator[bytes], share: Share) -> AsyncIterator[Upload]:
    # Of a BytesIO, unlike a bytearray, the bytes are had without another copy.
    picture = io.BytesIO()
    async for chunk in body:
        share.take(len(chunk))
        picture.write(chunk)
    yield Upload(FIELD, picture.getvalue())


def _wrong_type(limits: Limits) -> ProblemError:
    raw = ", or the picture alone with its own Content-Type" if limits.raw else ""
    return ProblemError(WRONG_TYPE, f"Send {FORM} with the picture in the field '{FIELD}'{raw}.")
