"""The benchmark of bulk prediction: what its times are of."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import bulk_prediction


def test_the_end_of_ray_is_in_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    @contextmanager
    def cluster() -> Iterator[None]:
        now[0] += 5
        yield
        now[0] += 100

    def predict(*_: object, **__: object) -> SimpleNamespace:
        now[0] += 2
        return SimpleNamespace(images=7, failed=0)

    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: 0.0)
    monkeypatch.setattr(bulk_prediction, "time", clock)
    monkeypatch.setattr(bulk_prediction, "_steady", lambda out: 1.0)
    # In this order, as the first imports the cluster for good.
    monkeypatch.setattr("doctor_derma.distributed.predict.run.predict_on_ray", predict)
    monkeypatch.setattr("doctor_derma.distributed.cluster.cluster", cluster)
    found = bulk_prediction.on_ray(tmp_path, tmp_path, tmp_path)
    assert (found["seconds"], found["with_start"]) == (2, 7)
