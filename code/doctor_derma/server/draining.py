"""From the signal to stop to the end, without losing a request that was accepted."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from doctor_derma.server.engine.engine import Engine

# Heroku kills 30 seconds after SIGTERM, so both together stay under that.
DOOR_SECONDS = 5
REQUEST_SECONDS = 20
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@asynccontextmanager
async def draining_on_signal(engine: Engine) -> AsyncIterator[None]:
    """Put a pause between the signal to stop and the server's own reaction to it.

    The server would close its port at once, and who comes then finds nobody. For up to
    ``DOOR_SECONDS``, while accepted pictures are answered, newcomers are told instead that they
    should come again, and ``/readyz`` that there is no point in sending more. Then the server
    stops as it always does: it closes the port, and waits ``REQUEST_SECONDS`` for requests that
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
            _call(handlers[number], number)
        else:
            tasks.append(asyncio.create_task(drain(number)))

    async def drain(number: signal.Signals) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DOOR_SECONDS):
                await engine.drain()
        _call(handlers[number], number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, handlers[number])


def _call(handler: object, number: signal.Signals) -> None:
    if callable(handler):
        handler(number, None)
