"""What the server arranges with the system for its process: signals, memory and open files."""

import asyncio
import ctypes
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from doctor_derma.server.engine.engine import Engine

# Heroku kills 30 seconds after SIGTERM, so both together stay under that.
DRAIN_SECONDS = 5
SHUTDOWN_SECONDS = 20
# Well over http.MAX_CONNECTIONS: a flood of them is accepted before any of them is closed.
OPEN_FILES = 4_096
# mallopt's M_MMAP_THRESHOLD, see mallopt(3).
_MMAP_THRESHOLD = -3
# More than a decoded picture of 600x450 takes, as getting and clearing pages costs a fifth of the
# time that it takes to decode one.
_LARGE_BYTES = 4_000_000
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@asynccontextmanager
async def draining_on_signal(engine: Engine) -> AsyncIterator[None]:
    """Put a pause between the signal to stop and the server's own reaction to it.

    The server would close its port at once, and who comes then finds nobody. For up to
    ``DRAIN_SECONDS``, while accepted pictures are answered, newcomers are told instead that they
    should come again, and ``/readyz`` that there is no point in sending more. Then the server
    stops as it always does: it closes the port, and waits ``SHUTDOWN_SECONDS`` for requests that
    are under way. A second signal skips the pause.

    Where the event loop does not run in the main thread, no signal comes, and this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    # What the server that runs this loop has set up for itself.
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    tasks: list[asyncio.Task[None]] = []

    def stop(number: signal.Signals) -> None:
        if tasks:
            react(number)
        else:
            tasks.append(asyncio.create_task(drain(number)))

    async def drain(number: signal.Signals) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await engine.drain()
        react(number)

    def react(number: signal.Signals) -> None:
        if callable(handler := handlers[number]):
            handler(number, None)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, handlers[number])


def allow_connections() -> None:
    """Have room for more open files than connections, where the system grants it."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if now < OPEN_FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, most))


def return_large_blocks() -> None:
    """Give back every block of four megabytes or more as soon as it is freed, with glibc.

    Left alone, glibc takes the first large block that is freed for a sign that more will be
    wanted, and keeps the next ones, for each thread by itself. Four pictures of 49 megapixels
    with transparency, one after the other in two threads, then leave 1.2 to 2.2 GB behind;
    with this, nothing.
    """
    if library := _glibc():
        library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def return_small_blocks() -> None:
    """Give back now what lies free between blocks in use, with glibc.

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
