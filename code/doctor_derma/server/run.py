"""``derma serve``: a port, and one process or several that answer on it."""

import errno
import functools
import logging
import logging.config
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from doctor_derma.bundle import read_info
from doctor_derma.errors import DermaError
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.inference.providers import prepare_providers
from doctor_derma.server.app import create_app
from doctor_derma.server.http import BoundedProtocol
from doctor_derma.server.logs import log_config
from doctor_derma.server.metrics import forget_dead_processes, shared_metrics
from doctor_derma.server.process import SHUTDOWN_SECONDS, allow_connections
from doctor_derma.server.settings import Settings

# Lines before a request's body, all in all, and its address.
HEADER_BYTES = 32_768

_CANNOT_LISTEN = {
    errno.EADDRINUSE: "already in use; stop what listens there or choose another port",
    errno.EACCES: "not allowed; choose a port above 1023",
}
_log = logging.getLogger(__name__)


def serve(
    bundle: Path, host: str = "127.0.0.1", port: int = 5555, settings: Settings | None = None
) -> None:
    """Serve a bundle until interrupted.

    Parameters
    ----------
    bundle : folder with the model
    settings : those of the environment when None

    Raises
    ------
    DermaError
        When the bundle can't be loaded, nothing can listen at ``host`` and ``port``, or a
        setting is wrong.
    """
    settings = settings or Settings.from_environment()
    allow_connections()
    logging.config.dictConfig(log_config(settings))
    if settings.workers == 1:
        # Loaded before there is a port, so that a model that can't be served is a sentence.
        app = create_app(bundle, settings)
        run = functools.partial(_serve_alone, app, settings)
    else:
        read_info(bundle).deciding(settings.rule)
        prepare_providers(settings.providers)
        run = functools.partial(_serve_together, bundle, settings)
    with ExitStack() as ports:
        listeners = [ports.enter_context(_listen(host, port))]
        if settings.health_port is not None:
            listeners.append(ports.enter_context(_listen(host, settings.health_port)))
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listeners[0].getsockname()[1]}"
        _log.info("Serving %s at %s (stop with Ctrl+C)", bundle, address)
        _log.info(NOTICE)
        run(listeners)


def _serve_alone(app: FastAPI, settings: Settings, listeners: list[socket.socket]) -> None:
    # Uvicorn sends itself the signal once more when all is done, which would be its death.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(_uvicorn_config(app, settings)).run(sockets=listeners)


def _serve_together(bundle: Path, settings: Settings, listeners: list[socket.socket]) -> None:
    factory = functools.partial(create_worker_app, bundle, settings)
    with shared_metrics():
        supervisor = Multiprocess(_uvicorn_config(factory, settings), sockets=listeners)
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise DermaError(f"{bundle}: can't be served; the log says why")


def create_worker_app(bundle: Path, settings: Settings) -> FastAPI:
    """Return the application of one process of several, or end the process."""
    forget_dead_processes()
    try:
        return create_app(bundle, settings)
    except DermaError as error:
        _log.error("%s", error)
        # Tells the supervisor that another attempt would fail as well.
        sys.exit(STARTUP_FAILURE)


def _uvicorn_config(app: FastAPI | Callable[[], FastAPI], settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=not isinstance(app, FastAPI),
        workers=settings.workers,
        http=BoundedProtocol,
        ws="none",
        log_config=log_config(settings),
        access_log=False,
        server_header=False,
        # The application has it, behind ``read_forwarded``.
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise DermaError(f"port: {port} is out of range; choose 1 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        other = f"can't listen there ({error.strerror or error}); choose another host"
        reason = _CANNOT_LISTEN.get(error.errno or 0, other)
        raise DermaError(f"{host}:{port}: {reason}") from error
    # Of its connections, too: Nagle's algorithm (RFC 896) and delayed acknowledgements would hold
    # back the end of an answer for 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
