"""A real server on this machine around a fake engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from doctor_derma.inference.classifier import Classifier
from doctor_derma.server.settings import Settings
from server.fake_engine import FakeEngine, make_api
from server.live import serving
from tiny_bundle import write_bundle

KEY = "a-key"


class Server(NamedTuple):
    """Where it is, and what it answers with."""

    url: str
    engine: FakeEngine
    classifier: Classifier
    bundle: Path


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    bundle = write_bundle(tmp_path_factory.mktemp("bundle"))
    (bundle / "README.md").write_text("# Tiny\n")
    classifier = Classifier.load(bundle)
    engine = FakeEngine(classifier)
    app = make_api(engine, bundle, Settings(api_keys=frozenset({KEY})))
    with serving(app) as url:
        yield Server(url, engine, classifier, bundle)


@pytest.fixture
def server(running: Server) -> Server:
    """The server, which has forgotten what earlier tests told it."""
    running.engine.errors.clear()
    running.engine.delays.clear()
    running.engine.ready = True
    return running
