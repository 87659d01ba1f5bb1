"""The body of a request, chunk by chunk, as long as it comes fast enough and stays small."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from doctor_derma.server.problems import MALFORMED, TOO_LARGE, TOO_SLOW, WRONG_TYPE, ProblemError
from doctor_derma.server.routes.memory import Share

# Without a byte, and for how long bytes are counted: so many have to come, which a phone on a poor
# connection can do. Whoever is slower holds a place that others could have.
SILENCE_SECONDS = 10.0
LEAST_BYTES = 50_000


async def read_body(request: Request, most: int, share: Share) -> AsyncIterator[bytes]:
    """Yield the body of a request.

    Parameters
    ----------
    share : what the request holds; where it is evicted, the body ends as one that is too slow

    Raises
    ------
    ProblemError
        413 as soon as more than ``most`` bytes have come or are announced, 408 when they come
        too slowly, 400 when they stop coming, 415 when they are compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(WRONG_TYPE, "The request's body is compressed; send it as it is.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise too_large(most)
    chunks = request.stream()
    loop = asyncio.get_running_loop()
    received = fresh = 0
    counted = 0.0
    while True:
        began = loop.time()
        try:
            async with asyncio.timeout(SILENCE_SECONDS) as patience:
                with share.expecting(patience):
                    chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise _too_slow() from error
        except ClientDisconnect as error:
            raise ProblemError(MALFORMED, "The upload was cut off; send it again.") from error
        if chunk is None:
            return
        received += len(chunk)
        if received > most:
            raise too_large(most)
        fresh += len(chunk)
        # Only the time in which the server has waited for the client.
        counted += loop.time() - began
        if counted > SILENCE_SECONDS:
            if fresh < LEAST_BYTES:
                raise _too_slow()
            counted, fresh = 0.0, 0
        yield chunk


def too_large(most: int) -> ProblemError:
    """Return the refusal of more than ``most`` bytes."""
    detail = f"The upload is over {most // 1_000_000} MB; send less or a more compressed picture."
    return ProblemError(TOO_LARGE, detail, _CLOSE)


def _too_slow() -> ProblemError:
    detail = "The upload came too slowly; send it again or send less."
    return ProblemError(TOO_SLOW, detail, _CLOSE)


# What is still on its way belongs to the refused request, and nothing can follow it.
_CLOSE = {"Connection": "close"}
