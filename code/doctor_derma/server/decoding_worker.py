"""``python -m doctor_derma.server.decoding_worker``: pictures in, pixels out, through pipes.

Each picture is decoded in a process of its own, a copy of this one, which has loaded everything.
Its memory and time are bounded, and when it dies, the picture counts as too large.

A request is ``REQUEST``, with the height and width of the network and the bytes of the file, and
the file. An answer is a line of JSON, and pixels where there are any. Neither can execute code.
"""

import json
import os
import select
import signal
import struct
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from doctor_derma.images.decoding import UnreadableImage, decode
from doctor_derma.images.heic import load_libheif
from doctor_derma.images.large_pictures import load_libvips

REQUEST = struct.Struct(">IIQ")
TOO_MUCH = "it takes more memory or time to decode than one picture may: scale it down"
# Wall-clock limit, for a decoder that hangs without computing.
SECONDS = 9
# With what the server itself does with the upload, under two.
PROCESSOR_SECONDS = 1.7
# On top of the memory of this process. 24 megapixels, as phones take them by default, are
# 122 MB in a HEIC and 96 MB in a progressive JPEG.
MEMORY_BYTES = 150_000_000
# Decoders ask for more than they use, such as two frames of an animation of which one is shown.
ADDRESS_BYTES = 700_000_000
LOOK_SECONDS = 0.01
# The server itself needs the processors more.
NICE = 5
# Columns of ``statm`` in proc(5).
ADDRESSES, RESIDENT = 0, 1


def main() -> None:
    """Answer requests until there are no more."""
    # The server gets both signals too, and ends this process by closing its pipe.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICE)
    # Once, and not in the process of each picture, which would take 60 ms.
    Image.init()
    load_libheif()
    load_libvips()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(REQUEST.size):
        height, width, length = REQUEST.unpack(head)
        answers.write(answer(requests.read(length), height, width))
        answers.flush()


def answer(encoded: bytes, height: int, width: int) -> bytes:
    """Decode a picture in a child process, and return its answer."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _decode_and_exit(writer, encoded, height, width)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        _watch(child, reader)
        said = stream.read()
    _, status = os.waitpid(child, 0)
    return said if status == 0 and said else _packed({"reason": TOO_MUCH, "kind": "large"})


def _watch(child: int, reader: int) -> None:
    """Wait until a process answers or ends, and kill it when it takes too much memory."""
    most = memory_of("self", RESIDENT) + MEMORY_BYTES
    while not select.select([reader], [], [], LOOK_SECONDS)[0]:
        if memory_of(child, RESIDENT) > most:
            os.kill(child, signal.SIGKILL)
            return


def _decode_and_exit(writer: int, encoded: bytes, height: int, width: int) -> None:
    status = 1
    try:
        _set_limits()
        with os.fdopen(writer, "wb") as stream:
            stream.write(_decoded(encoded, height, width))
        status = 0
    finally:
        # Skips Python's clean-up, which belongs to the process that this is a copy of.
        os._exit(status)


def _decoded(encoded: bytes, height: int, width: int) -> bytes:
    try:
        pixels, size = decode(encoded, height, width)
    except UnreadableImage as error:
        if isinstance(error.__cause__, MemoryError):
            return _packed({"reason": TOO_MUCH, "kind": "large"})
        return _packed({"reason": str(error), "kind": error.kind})
    return _packed({"size": size}, pixels.tobytes())


def _packed(head: dict[str, Any], pixels: bytes = b"") -> bytes:
    return json.dumps(head).encode() + b"\n" + pixels


def _set_limits() -> None:
    # Unix only, whereas the server imports this file everywhere for the message format.
    import resource

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    for nothing in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(nothing, (0, 0))
    # As RLIMIT_CPU does it, which has whole seconds alone: of all threads, and the end of all.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
    if taken := memory_of("self", ADDRESSES):
        most = taken + ADDRESS_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def memory_of(process: int | str, column: int) -> int:
    """Return the bytes of a process, ``ADDRESSES`` or ``RESIDENT``; 0 where nothing tells."""
    try:
        pages = Path("/proc", str(process), "statm").read_text().split()[column]
    except OSError:  # No Linux, or it has just ended.
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
