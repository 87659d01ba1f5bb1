"""Hostile files against the whole server: an answer or a reason, soon, and no memory kept."""

import time
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture(scope="module")
def client(bundle: Path) -> Iterator[TestClient]:
    with TestClient(create_app(bundle)) as client:
        yield client


def test_there_are_many_and_always_the_same(files: dict[str, bytes]) -> None:
    assert len(files) >= 200
    assert len(set(files.values())) > 0.9 * len(files)
    again = hostile_files()
    assert {name: data for name, data in files.items() if again[name] != data} == {}


def test_every_file_gets_an_answer_or_a_reason_in_time(
    client: TestClient, files: dict[str, bytes]
) -> None:
    wrong = {}
    for name, data in files.items():
        start = time.process_time()
        response = client.post("/v1/predict", files={"image": data})
        seconds = time.process_time() - start
        body = response.json()
        answered = response.status_code == 200 and body["label"]
        refused = response.status_code in (413, 415, 422) and body["detail"]
        if not (answered or refused) or seconds > MOST_SECONDS:
            wrong[name] = (response.status_code, seconds, body)
    assert wrong == {}


def test_good_files_of_odd_kinds_are_answered(client: TestClient, files: dict[str, bytes]) -> None:
    names = [name for name in files if name.startswith("odd/")]
    statuses = {
        name: client.post("/v1/predict", files={"image": files[name]}).status_code for name in names
    }
    assert {name for name, status in statuses.items() if status != 200} == set()


def test_memory_does_not_grow(client: TestClient, files: dict[str, bytes]) -> None:
    process = psutil.Process()
    small = [data for data in files.values() if len(data) < SMALL_BYTES]
    assert len(small) > 400

    def send_all(times: int) -> int:
        for data in small * times:
            client.post("/v1/predict", files={"image": data})
        return process.memory_info().rss

    # The first round fills the pools of the allocator, one for each thread.
    before = send_all(1)
    assert send_all(2) - before < MOST_GROWTH_BYTES
