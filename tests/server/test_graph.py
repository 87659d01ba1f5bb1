"""How many processors a server takes for its own."""

from pathlib import Path

import pytest

from doctor_derma.inference import session as graph


@pytest.mark.parametrize(
    ("limit", "cpus", "used"),
    [("100", 99, 16), ("100", 64, 16), ("100", 4, 4), ("max", 64, 64), ("60", 64, 3), ("9", 8, 1)],
)
def test_no_more_processors_than_there_may_be_threads(
    limit: str, cpus: int, used: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pids.max").write_text(f"{limit}\n")
    monkeypatch.setattr(graph, "PIDS_LIMITS", (tmp_path / "none", tmp_path / "pids.max"))
    monkeypatch.setattr(graph.os, "sched_getaffinity", lambda process: set(range(cpus)))
    assert graph.usable_cpus() == used
