"""Memory that the process has freed goes back to the system, where the C library is glibc."""

import ctypes
import sys

# mallopt's M_MMAP_THRESHOLD, see mallopt(3).
_MMAP_THRESHOLD = -3
# More than a decoded picture of 600x450 takes, as getting and clearing pages costs a fifth of the
# time that it takes to decode one.
_LARGE_BYTES = 4_000_000


def return_large_blocks() -> None:
    """Give back every block of four megabytes or more as soon as it is freed.

    Left alone, glibc takes the first large block that is freed for a sign that more will be
    wanted, and keeps the next ones, for each thread by itself. Four pictures of 49 megapixels
    with transparency, one after the other in two threads, then leave 1.2 to 2.2 GB behind;
    with this, nothing.
    """
    if library := _glibc():
        library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def return_small_blocks() -> None:
    """Give back now what lies free between blocks in use.

    Worth it once, when the graph is loaded: ONNX Runtime has the weights in memory several
    times meanwhile.
    """
    if library := _glibc():
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None
