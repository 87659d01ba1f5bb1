"""A classifier that acts as a test tells it to, and an engine around it."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from doctor_derma.inference.classifier import Classifier, ReadPicture
from doctor_derma.inference.prediction import Prediction
from doctor_derma.server.engine.engine import Classifiers, Engine
from doctor_derma.server.metrics import Metrics
from doctor_derma.server.settings import Settings
from tiny_bundle import SIZE


class ActingClassifier(Classifier):
    """The tiny bundle's classifier, slow on demand, which remembers its batches."""

    def __init__(self, bundle: Path, seconds: float = 0.0) -> None:
        real = Classifier.load(bundle, threads=1)
        super().__init__(real.info, real._session)
        self.seconds = seconds
        self.errors: list[Exception] = []
        self.batches: list[int] = []
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def classify(self, pictures: Sequence[ReadPicture]) -> list[Prediction]:
        self.batches.append(len(pictures))
        self.started.set()
        assert self.may_end.wait(10)
        time.sleep(self.seconds)
        if self.errors:
            raise self.errors.pop(0)
        return super().classify(pictures)


def plain_picture(colour: tuple[int, int, int]) -> ReadPicture:
    """Return a picture of one colour as the network sees it."""
    return ReadPicture(np.full((SIZE, SIZE, 3), colour, dtype=np.uint8), ())


def make_engine(classifier: Classifier, **settings: object) -> tuple[Engine, Metrics]:
    """Return an engine that has not started, and what it measures."""
    metrics = Metrics(classifier.info)
    chosen = Settings(**settings)  # type: ignore[arg-type]
    return Engine(Classifiers(classifier, classifier, 1), chosen, metrics), metrics


async def until(condition: object) -> None:
    """Let other tasks run until a condition holds, for 10 seconds at most."""
    assert callable(condition)
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        await asyncio.sleep(0.005)
