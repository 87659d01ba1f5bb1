"""The picture of a multipart request, read into memory and nowhere else."""

from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

FIELD = "image"
MAX_IMAGE_BYTES = 20_000_000
# Boundaries, part headers and a file name around the picture.
_MAX_BODY_BYTES = MAX_IMAGE_BYTES + 4_096


class _MemoryParser(MultiPartParser):
    # Starlette would write a part over 1 MB to a temporary file; pictures are never stored.
    spool_max_size = _MAX_BODY_BYTES


async def read_picture(request: Request) -> bytes:
    """Return the encoded picture in the field ``image`` of a multipart/form-data request.

    Raises
    ------
    HTTPException
        413 as soon as more than ``MAX_IMAGE_BYTES`` have come or are announced, 415 when
        the body is not multipart, 400 when it is malformed or cut off, 422 when it has no
        file in the field.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        raise HTTPException(
            415, f"Send multipart/form-data with the picture as a file in the field '{FIELD}'."
        )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > _MAX_BODY_BYTES:
        raise _too_large()
    parser = _MemoryParser(request.headers, _limited(request), max_files=1, max_fields=10)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"The form can't be read: {error.message}") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The upload was cut off; send it again.") from error
    try:
        picture = form.get(FIELD)
        if not isinstance(picture, UploadFile):
            raise HTTPException(422, f"There is no file in the field '{FIELD}'.")
        encoded = await picture.read()
    finally:
        await form.close()
    if len(encoded) > MAX_IMAGE_BYTES:
        raise _too_large()
    return encoded


async def _limited(request: Request) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > _MAX_BODY_BYTES:
            raise _too_large()
        yield chunk


def _too_large() -> HTTPException:
    megabytes = MAX_IMAGE_BYTES // 1_000_000
    return HTTPException(
        413, f"The picture is over {megabytes} MB; send a smaller or more compressed one."
    )
