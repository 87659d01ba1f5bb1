"""The web application: an upload page, a JSON API and metrics of itself around one bundle."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from doctor_derma._version import __version__
from doctor_derma.cpus import usable_cpus
from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.access import LOCAL_PATH, allow_origins, secure_browsers
from doctor_derma.server.engine.engine import Classifiers, Engine
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.middleware import (
    answer_errors,
    cancel_on_disconnect,
    head_as_get,
    log_requests,
    only_health_at,
    read_forwarded,
    shed_load,
)
from doctor_derma.server.process import draining_on_signal, return_large_blocks, return_small_blocks
from doctor_derma.server.routes.health import health_routes, metrics_routes
from doctor_derma.server.routes.model import model_routes
from doctor_derma.server.routes.pages import STATIC, page_routes, reference_routes
from doctor_derma.server.routes.predict import predict_routes
from doctor_derma.server.settings import Settings
from doctor_derma.server.shedding import Shedding

# The event loop and the threads that decode take turns in Python. By default a turn is 5 ms, in
# which a thread could have half a picture done.
SWITCH_SECONDS = 0.0003


def create_app(bundle: Path, settings: Settings | None = None) -> FastAPI:
    """Return the server's application with the bundle loaded.

    Parameters
    ----------
    bundle : folder with the model
    settings : those of the environment when None

    Raises
    ------
    DermaError
        When the bundle can't be loaded, see ``Classifier.load``.
    """
    settings = settings or Settings.from_environment()
    sys.setswitchinterval(SWITCH_SECONDS)
    cpus = max(1, usable_cpus() // settings.workers)
    return_large_blocks()
    classifiers = Classifiers.load(bundle, cpus, settings.rule, settings.providers)
    return_small_blocks()
    return build_app(classifiers, bundle, settings)


def build_app(classifiers: Classifiers, bundle: Path, settings: Settings) -> FastAPI:
    """Return the application around a bundle that is loaded already."""
    info = classifiers.alone.info
    metrics = Metrics(info)
    engine = Engine(classifiers, settings, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        async with draining_on_signal(engine):
            yield
        await engine.stop()

    app = FastAPI(
        title="Doctor Derma",
        version=__version__,
        description=f"Classifies dermatoscopic images. {NOTICE}",
        # Encoded once, see reference_routes.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # Addresses that this server makes are relative, as a proxy may put it under a path: of
        # redirects they would be absolute, and for programs that read the document as well.
        redirect_slashes=False,
        servers=[{"url": "./"}],
        lifespan=lifespan,
    )
    app.state.classifier = classifiers.alone
    app.state.engine = engine
    app.state.metrics = metrics
    # For the protocol as well, see http.py.
    app.state.shedding = shedding = Shedding(engine, metrics, settings.per_client_limit)
    # Each wraps those before it: a request passes the last one first.
    answer_errors(app)
    app.add_middleware(head_as_get)
    app.add_middleware(cancel_on_disconnect)
    app.add_middleware(shed_load, shedding)
    allow_origins(app, settings.cors_origins)
    if settings.health_port is not None:
        app.add_middleware(only_health_at, settings.health_port)
    app.add_middleware(secure_browsers)
    app.add_middleware(log_requests, metrics, settings.log_clients)
    # Whose word on a client's address is taken.
    trusted = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)
    app.add_middleware(read_forwarded)
    app.include_router(page_routes())
    app.include_router(predict_routes(engine, info, settings))
    app.include_router(model_routes(info, bundle))
    app.include_router(health_routes(engine, info, classifiers.alone.providers))
    app.include_router(metrics_routes(metrics, settings.api_keys))
    app.include_router(reference_routes(app.openapi()))
    app.mount("/static", StaticFiles(directory=STATIC))
    if settings.local_site is not None:
        app.mount(LOCAL_PATH, StaticFiles(directory=settings.local_site, html=True))
    return app
