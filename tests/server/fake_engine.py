"""An engine that classifies at once, or does what a test tells it to, and an API around it."""

import asyncio
import io
from collections import deque
from pathlib import Path

from fastapi import FastAPI
from PIL import Image

from doctor_derma.decisions import Rule
from doctor_derma.images.decoding import UnreadableImage
from doctor_derma.inference.classifier import Classifier
from doctor_derma.inference.patient import NOBODY, Patient
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.access import allow_origins, secure_browsers
from doctor_derma.server.engine.engine import Overloaded
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.middleware import answer_errors, log_requests
from doctor_derma.server.problems import unreadable
from doctor_derma.server.routes.health import health_routes
from doctor_derma.server.routes.model import model_routes
from doctor_derma.server.routes.pages import page_routes
from doctor_derma.server.routes.predict import predict_routes
from doctor_derma.server.settings import Settings


class FakeEngine:
    """Classifies in the event loop; raises what is in ``errors`` first, one a picture."""

    def __init__(self, classifier: Classifier) -> None:
        self.ready = True
        self.errors: deque[Exception] = deque()
        self.given_up: list[Overloaded] = []
        self.most_at_once = 0
        self.delays: deque[float] = deque()
        self._at_once = 0
        self._classifier = classifier

    async def predict(
        self, encoded: bytes, rule: Rule | None = None, patient: Patient = NOBODY
    ) -> Prediction:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(self.delays.popleft() if self.delays else 0)
            if self.errors:
                raise self.errors.popleft()
            picture = self._classifier.read(encoded)._replace(rule=rule, patient=patient)
            return self._classifier.classify([picture])[0]
        except UnreadableImage as error:
            raise unreadable(str(error), error.kind) from None
        finally:
            self._at_once -= 1

    attempt = predict

    def refused(self, busy: Overloaded) -> None:
        self.given_up.append(busy)


def make_api(engine: FakeEngine, bundle: Path, settings: Settings | None = None) -> FastAPI:
    """Return the API's routes around a fake engine, put together as in ``create_app``."""
    settings = settings or Settings()
    info = engine._classifier.info
    app = FastAPI(title="test")
    answer_errors(app)
    app.include_router(page_routes())
    app.include_router(predict_routes(engine, info, settings))  # type: ignore[arg-type]
    app.include_router(model_routes(info, bundle))
    app.include_router(health_routes(engine, info, engine._classifier.providers))  # type: ignore[arg-type]
    allow_origins(app, settings.cors_origins)
    app.add_middleware(secure_browsers)
    app.add_middleware(log_requests, Metrics(info), log_clients=False)
    return app


def encoded(colour: tuple[int, int, int], format: str = "PNG") -> bytes:
    """Return a picture of 40x30 pixels in one colour as a file."""
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(stream, format)
    return stream.getvalue()
