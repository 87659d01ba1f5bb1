"""Hostile files against the whole server: an answer or a reason, soon, and no memory kept."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from fastapi.testclient import TestClient

from doctor_derma.server.app import create_app
from server.hostile import hostile_files

# Of processor time; the slowest takes a fifth of it where nothing else runs.
MOST_SECONDS = 2.0
MOST_GROWTH_BYTES = 20_000_000
SMALL_BYTES = 50_000
# Pillow remarks on many of them.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return hostile_files()


class Answer(NamedTuple):
    """What came back for a file, and the seconds of processor time that it took."""

    status: int
    body: dict
    seconds: float


@pytest.fixture(scope="module")
def client(bundle: Path) -> Iterator[TestClient]:
    with TestClient(create_app(bundle)) as client:
        yield client


@pytest.fixture(scope="module")
def answers(client: TestClient, files: dict[str, bytes]) -> dict[str, Answer]:
    """Send every file once; the allocator has filled its pools, one for each thread, then."""
    found = {}
    for name, data in files.items():
        start = time.process_time()
        response = client.post("/v1/predict", files={"image": data})
        seconds = time.process_time() - start
        found[name] = Answer(response.status_code, response.json(), seconds)
    return found


def test_there_are_many_and_always_the_same(files: dict[str, bytes]) -> None:
    assert len(files) >= 200
    assert len(set(files.values())) > 0.9 * len(files)
    again = hostile_files()
    assert {name: data for name, data in files.items() if again[name] != data} == {}


def test_every_file_gets_an_answer_or_a_reason_in_time(answers: dict[str, Answer]) -> None:
    wrong = {}
    for name, answer in answers.items():
        answered = answer.status == 200 and answer.body["label"]
        refused = answer.status in (413, 415, 422) and answer.body["detail"]
        if not (answered or refused) or answer.seconds > MOST_SECONDS:
            wrong[name] = answer
    assert wrong == {}


def test_good_files_of_odd_kinds_are_answered(answers: dict[str, Answer]) -> None:
    odd = {name: answer.status for name, answer in answers.items() if name.startswith("odd/")}
    assert odd
    assert {name for name, status in odd.items() if status != 200} == set()


@pytest.mark.usefixtures("answers")
def test_memory_does_not_grow(client: TestClient, files: dict[str, bytes]) -> None:
    process = psutil.Process()
    small = [data for data in files.values() if len(data) < SMALL_BYTES]
    assert len(small) > 400

    before = process.memory_info().rss
    for data in small * 2:
        client.post("/v1/predict", files={"image": data})
    assert process.memory_info().rss - before < MOST_GROWTH_BYTES
