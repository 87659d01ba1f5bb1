"""The server's side of the helper process."""

import asyncio
import json
import os
import sys
from contextlib import suppress

import numpy as np

from doctor_derma.images.decoding import Decoded
from doctor_derma.server.engine.job import Unread
from doctor_derma.server.helper.messages import LENGTHS, REQUEST, SECONDS, TOO_MUCH

# One thread, and one pool of memory, so that what it takes is what its picture takes.
_ENVIRONMENT = {
    "VIPS_CONCURRENCY": "1",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Over which libvips would write a file, which in a container is memory as well.
    "VIPS_DISC_THRESHOLD": "10g",
}
PIECE_BYTES = 262_144
_LONGEST_HEAD = 10_000


class Helper:
    """Decodes one picture at a time in a process that can die; it is started when first needed.

    Parameters
    ----------
    height, width : of the pictures that the network takes
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
        # Whatever has become of the process, the next picture gets a new one.
        except (OSError, EOFError, TimeoutError, ValueError):
            await self.close()
            return Unread(TOO_MUCH, "large")
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
        head_length, length = LENGTHS.unpack(await process.stdout.readexactly(LENGTHS.size))
        expected = self._height * self._width * 3
        if head_length > _LONGEST_HEAD or length not in (0, expected):
            raise ValueError("no answer of a helper")
        head = json.loads(await process.stdout.readexactly(head_length))
        if not length:
            return Unread(str(head["reason"]), head["kind"])
        pixels = np.frombuffer(await process.stdout.readexactly(length), dtype=np.uint8)
        width, height = head["size"]
        return Decoded(pixels.reshape(self._height, self._width, 3), (width, height))

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "doctor_derma.server.helper.decoding"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # The libraries in it remark on odd files, at length and past every log.
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT},
            )
        return self._process
