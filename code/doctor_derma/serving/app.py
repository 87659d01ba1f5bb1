"""The web server: an upload page and a JSON API around one bundle."""

import errno
import socket
from contextlib import suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from rich.console import Console

from doctor_derma import __version__
from doctor_derma.errors import DermaError
from doctor_derma.serving.classifier import Classifier
from doctor_derma.serving.headers import SecurityHeaders
from doctor_derma.serving.notice import NOTICE
from doctor_derma.serving.routes.model import model_routes
from doctor_derma.serving.routes.page import STATIC, page_routes
from doctor_derma.serving.routes.prediction import prediction_routes
from doctor_derma.serving.routes.reference import reference_routes

SHUTDOWN_SECONDS = 5


def create_app(bundle: Path) -> FastAPI:
    """Return the server's application with the bundle loaded.

    Raises
    ------
    DermaError
        When the bundle can't be loaded, see ``Classifier.load``.
    """
    classifier = Classifier.load(bundle)
    app = FastAPI(
        title="Doctor Derma",
        version=__version__,
        description=f"Classifies dermatoscopic images. {NOTICE}",
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(SecurityHeaders)
    app.include_router(page_routes())
    app.include_router(prediction_routes(classifier))
    app.include_router(model_routes(classifier))
    app.include_router(reference_routes())
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def serve(bundle: Path, host: str = "127.0.0.1", port: int = 5555) -> None:
    """Serve a bundle until interrupted.

    Raises
    ------
    DermaError
        When the bundle can't be loaded, or nothing can listen at ``host`` and ``port``.
    """
    app = create_app(bundle)
    listener = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"Serving {bundle} at http://{shown}:{listener.getsockname()[1]} (stop with Ctrl+C)"
    )
    console.print(NOTICE, style="bold")
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    with listener, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "already in use; stop what listens there or choose another port"
        elif error.errno == errno.EACCES:
            reason = "not allowed; choose a port above 1023"
        else:
            reason = f"can't listen there ({error.strerror or error}); choose another host"
        raise DermaError(f"{host}:{port}: {reason}") from error
    except OverflowError as error:
        raise DermaError(f"port: {port} is out of range; choose 1 to 65535") from error
