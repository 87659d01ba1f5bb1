"""Goals, tables and the plot from results that are made up."""

import copy
from pathlib import Path
from typing import Any

import pytest
from serving_bench.contenders import BOUNDARY, contenders
from serving_bench.goals import goals
from serving_bench.plot import draw
from serving_bench.table import blocks, markdown

MEMORY = {"rss": 200.0, "pss": 180.0}


def latency(p50: float, p99: float) -> dict[str, float]:
    return {"p50": p50, "p90": p50, "p99": p99, "p999": p99, "max": p99}


def server(title: str, speed: float) -> dict[str, Any]:
    def steps(*shares: tuple[int, float]) -> list[dict[str, Any]]:
        return [
            {"clients": n, "answered_per_second": share * speed, "not_200": 0, "broken": 0}
            for n, share in shares
        ]

    return {
        "title": title,
        "ready_seconds": 1.5,
        "memory_ready": MEMORY,
        "closed_loop": steps((1, 0.5), (8, 0.9), (32, 1.0)),
        "one_client": {"latency_ms": latency(10, 13)},
        "open_loop": [{"load": 0.5, "latency_ms": latency(11, 20)},
                      {"load": 0.8, "latency_ms": None}],
        "soak": {"requests": 100_000, "memory_after": MEMORY, "rss_growth_per_100000": 2.0,
                 "curve": [[0, 190, 170], [100_000, 200, 180]]},
        "overload": {"offered_per_second": 10 * speed, "answered_per_second": 0.95 * speed,
                     "of_peak": 0.95, "outcomes": {"200": 95, "refused with Retry-After": 900,
                                                   "given up": 5},
                     "latency_ms": latency(300, 400), "memory_before": MEMORY,
                     "memory_peak": MEMORY, "memory_after": MEMORY},
    }  # fmt: skip


@pytest.fixture
def results() -> dict[str, Any]:
    way = {"layout": "a batch per thread", "threads_around": 2, "threads_inside": 1,
           "spinning": False, "batch": 8, "per_second": 160.0}  # fmt: skip
    return {
        "ceiling": {"best": way, "best_at_batch_1": {**way, "batch": 1, "per_second": 140.0},
                    "one_at_a_time": {"sleeping": {"latency_ms": latency(9, 10)}}},
        "servers": {"ours": server("Doctor Derma", 152), "flask": server("Flask + torch", 50),
                    "bentoml": {"not_measured": "bentoml is not installed"}},
        "previous": {"bundle": "older", "answered_per_second": 38.0},
        "int8": {"bundle": "a-int8", "answered_per_second": 171.0, "not_200": 1, "broken": 2},
    }  # fmt: skip


def test_goals(results: dict[str, Any]) -> None:
    judged = {goal.what: (goal.measured, goal.reached) for goal in goals(results)}
    assert judged["throughput at 32 clients, of Flask + torch"] == ("3.04x", True)
    assert judged["throughput at 32 clients, of the bundle older"] == ("4.00x", True)
    assert [goal.reached for goal in goals(results)] == [True] * 8
    assert goals(results)[0].measured == "0.950"
    assert goals(results)[1].measured == "1.30x (13.0 of 10.0 ms)"


def test_goals_that_are_missed_or_not_to_be_judged(results: dict[str, Any]) -> None:
    ours = results["servers"]["ours"]
    ours["closed_loop"][-1]["answered_per_second"] = 119
    ours["ready_seconds"] = 2.1
    ours["soak"]["requests"] = 300
    ours["overload"]["of_peak"] = 0.89
    reached = [goal.reached for goal in goals(results)]
    assert reached == [False, True, False, False, False, None, None, False]
    del results["servers"]["ours"]
    assert goals(results) == []


def test_tables_name_what_was_not_measured(results: dict[str, Any]) -> None:
    text = "\n".join(markdown(block) for block in blocks(results))
    assert "| bentoml | bentoml is not installed |" in text
    assert "| Doctor Derma | 76.0 | 136.8 | 152.0 | 0.950 | 0 |" in text
    assert "| ceiling, batch 1 | - | - | 140.0 | 0.875 | - |" in text
    assert "| Doctor Derma, a-int8 | - | - | 171.0 | - | 3 |" in text
    assert "| Doctor Derma | 10.0 | 13.0 | 11.0 | 20.0 | none | none |" in text
    assert "| Doctor Derma | 1520 | 144.4 | 0.950 | 90.0% | 0.5% | 400.0 |" in text
    for block in blocks(results):
        assert {len(row) for row in block.rows} == {len(block.headings)}, block.title


@pytest.mark.parametrize("missing", ["ceiling", "servers"])
def test_parts_of_a_run_are_shown_too(
    results: dict[str, Any], missing: str, tmp_path: Path
) -> None:
    part = copy.deepcopy(results)
    part[missing] = {} if missing == "servers" else None
    assert all(markdown(block) for block in blocks(part))
    draw(part, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_requests_are_whole(tmp_path: Path) -> None:
    for contender in contenders(tmp_path, Path("python"), 5800, tmp_path):
        head, _, body = contender.request(b"JPEG\r\n\r\n").partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
        assert head.startswith(f"POST {contender.path} HTTP/1.1\r\n".encode())
        if BOUNDARY.encode() in head:
            assert body.startswith(b"--") and body.endswith(f"--{BOUNDARY}--\r\n".encode())  # noqa: PT018
