"""The body of a request, chunk by chunk, as long as it comes fast enough and stays small."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from doctor_derma.serving.routes.kinds import MALFORMED, TOO_LARGE, TOO_SLOW, WRONG_TYPE
from doctor_derma.serving.routes.problem import Refusal

# A body has this long and a second more for every so many bytes that have come, which a phone
# on a poor connection can do; whoever is slower holds a place that others could have.
GRACE_SECONDS = 20.0
LEAST_BYTES_PER_SECOND = 10_000


async def read_body(request: Request, most: int) -> AsyncIterator[bytes]:
    """Yield the body of a request.

    Raises
    ------
    Refusal
        413 as soon as more than ``most`` bytes have come or are announced, 408 when they come
        too slowly, 400 when they stop coming, 415 when they are compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(WRONG_TYPE, "The request's body is compressed; send it as it is.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise too_large(most)
    chunks = request.stream()
    began = asyncio.get_running_loop().time()
    received = 0
    while True:
        try:
            async with asyncio.timeout_at(
                began + GRACE_SECONDS + received / LEAST_BYTES_PER_SECOND
            ):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise Refusal(
                TOO_SLOW, "The upload came too slowly; send it again or send less.", _CLOSE
            ) from error
        except ClientDisconnect as error:
            raise Refusal(MALFORMED, "The upload was cut off; send it again.") from error
        if chunk is None:
            return
        received += len(chunk)
        if received > most:
            raise too_large(most)
        yield chunk


def too_large(most: int) -> Refusal:
    """Return the refusal of more than ``most`` bytes."""
    detail = f"The upload is over {most // 1_000_000} MB; send less or a more compressed picture."
    return Refusal(TOO_LARGE, detail, _CLOSE)


# What is still on its way belongs to the refused request, and nothing can follow it.
_CLOSE = {"Connection": "close"}
