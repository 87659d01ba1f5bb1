"""Encoded pictures to what the network sees, on all processors, within a bound of memory."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import NamedTuple

from PIL import Image

from doctor_derma.data.decoding import DRAFT_SIDE, FORMATS
from doctor_derma.serving.classifier import Classifier, ReadPicture

# A phone's JPEG is under it, as it is decoded at a fraction of its size. One such picture a
# processor takes some 20 MB each, a picture at the limit of 50 megapixels 150 MB and more.
LARGE_PIXELS = 6_000_000


class Decoded(NamedTuple):
    """A picture, and how long it took to decode."""

    picture: ReadPicture
    seconds: float


class Decoder:
    """Decodes as many pictures at a time as there are threads, but one large one only."""

    def __init__(self, classifier: Classifier, threads: int) -> None:
        self._classifier = classifier
        self._threads = ThreadPoolExecutor(threads, "decode")
        self._large = asyncio.Semaphore(1)

    async def decode(self, encoded: bytes) -> Decoded:
        """Decode a picture; whoever cancels this before a thread has it spares the work.

        Raises
        ------
        UnreadableImage
            When it can't be decoded.
        """
        decoded = await asyncio.wrap_future(self._threads.submit(self._decode, encoded, False))
        return decoded or await self._decode_large(encoded)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _decode_large(self, encoded: bytes) -> Decoded:
        # It waits here and not in a thread, where it would keep small ones from passing.
        await self._large.acquire()
        loop = asyncio.get_running_loop()
        job = self._threads.submit(self._decode, encoded, True)
        # Also when nobody waits for it any more, the memory is taken until the thread is done.
        job.add_done_callback(lambda done: loop.call_soon_threadsafe(self._large.release))
        decoded = await asyncio.wrap_future(job)
        assert decoded is not None
        return decoded

    def _decode(self, encoded: bytes, large_may: bool) -> Decoded | None:
        start = perf_counter()
        if not large_may and pixels_in_memory(encoded) > LARGE_PIXELS:
            return None
        picture = self._classifier.read(encoded)
        return Decoded(picture, perf_counter() - start)


def pixels_in_memory(encoded: bytes) -> int:
    """Return how many pixels have to be in memory to decode a picture, from its header.

    0 for what is no picture, whose decoding gives the reason. A JPEG that shrinks while it is
    decoded counts as what it shrinks to, unless it is progressive: then all of its
    coefficients have to be kept first.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            whole = image.width * image.height
            if whole > LARGE_PIXELS and not image.info.get("progressive"):
                image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))
            return image.width * image.height
    except Exception:  # The decoder proper knows every way in which a file can be wrong.
        return 0
