"""Where a picture is decoded: in a thread of the server, or in a separate process that may fail."""

import asyncio
import io
import json
import os
import sys
from contextlib import suppress
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from doctor_derma.images.decoding import LARGE_BYTES, LEAST_SIDE, MAX_PIXELS, Decoded, Fault
from doctor_derma.images.file_structure import look_through, webp_size
from doctor_derma.images.formats import DECODERS
from doctor_derma.images.large_pictures import WEBP_BYTES, bytes_to_decode, can_shrink
from doctor_derma.server.decoding_worker import REQUEST, SECONDS, TOO_MUCH

# Pillow has to keep so much of a picture that it can't make smaller meanwhile.
MAX_BYTES = 110_000_000
# Of metadata that were compressed.
UNPACKED_BYTES = 1_000_000
PIECE_BYTES = 262_144
# One thread, and one pool of memory, so that what it takes is what its picture takes.
_ENVIRONMENT = {
    "VIPS_CONCURRENCY": "1",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Above this libvips would write a file, which in a container is memory as well.
    "VIPS_DISC_THRESHOLD": "10g",
}

Place = Literal["here", "isolated", "nowhere"]


class Unread(NamedTuple):
    """Why a picture could not be decoded, see ``UnreadableImage``."""

    reason: str
    kind: Fault


TAKES_TOO_MUCH = Unread(TOO_MUCH, "large")


def where_to_decode(encoded: bytes) -> Place:
    """Say where to decode a picture, judging by the structure of its file.

    ``here``, in a thread of the server, is for what takes little memory and time, and for what is
    no picture, which the decoder rejects. ``isolated``, one at a time, is for all else, and
    ``nowhere`` for what would not fit there either.
    """
    structure = look_through(encoded)
    if structure.excess or structure.pixels > MAX_PIXELS:
        return "here"
    if structure.eager:
        return "isolated"
    # Before Pillow opens it, which unpacks the metadata of a PNG.
    width, height = webp_size(encoded[:30])
    if width * height * WEBP_BYTES > LARGE_BYTES or structure.unpacked > UNPACKED_BYTES:
        return "isolated"
    try:
        with Image.open(io.BytesIO(encoded), formats=DECODERS) as image:
            if image.width * image.height > MAX_PIXELS:
                return "here"
            image.draft(None, (LEAST_SIDE, LEAST_SIDE))
            taken = structure.coefficients + bytes_to_decode(image)
            format = image.format
    except Exception:  # The decoder itself tells what is wrong with it.
        return "isolated" if structure.odd else "here"
    if taken > MAX_BYTES and not can_shrink(format):
        return "nowhere"
    return "here" if taken <= LARGE_BYTES and not structure.odd else "isolated"


class IsolatedDecoder:
    """Decodes one picture at a time in a process that can die; it is started when first needed.

    ``height`` and ``width`` are those of the pictures that the network takes.
    """

    def __init__(self, height: int, width: int) -> None:
        self._height = height
        self._width = width
        self._process: asyncio.subprocess.Process | None = None

    async def decode(self, encoded: bytes) -> Decoded | Unread:
        """Decode a picture; not to be called again before it is done."""
        try:
            async with asyncio.timeout(2 * SECONDS):
                return await self._ask(encoded)
        # Whatever happened to the process, the next picture gets a new one.
        except (OSError, EOFError, TimeoutError, ValueError):
            await self.close()
            return TAKES_TOO_MUCH
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, encoded: bytes) -> Decoded | Unread:
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(REQUEST.pack(self._height, self._width, len(encoded)))
        view = memoryview(encoded)
        for start in range(0, len(view), PIECE_BYTES):
            # All at once, it would be kept once more.
            process.stdin.write(view[start : start + PIECE_BYTES])
            await process.stdin.drain()
        head = json.loads(await process.stdout.readline())
        if "reason" in head:
            return Unread(str(head["reason"]), head["kind"])
        width, height = head["size"]
        raw = await process.stdout.readexactly(self._height * self._width * 3)
        pixels = np.frombuffer(raw, dtype=np.uint8)
        return Decoded(pixels.reshape(self._height, self._width, 3), (width, height))

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "doctor_derma.server.decoding_worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Its libraries print warnings about odd files, past every log.
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT},
            )
        return self._process
