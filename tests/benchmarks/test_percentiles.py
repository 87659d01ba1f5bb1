"""Percentiles and the slope of memory, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_bench.percentiles import in_milliseconds, percentile
from serving_bench.serving import growth


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 5), (0.51, 6), (0.9, 9), (0.99, 10), (1.0, 10), (0.01, 1)]
)
def test_nearest_rank(share: float, expected: int) -> None:
    assert percentile(range(1, 11), share) == expected


def test_rounding_does_not_move_the_rank() -> None:
    # 0.99 * 100 is a little over 99 in binary.
    assert percentile(range(1, 101), 0.99) == 99


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0.01, 1))
def test_enough_are_not_over_it(values: list[float], share: float) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_milliseconds() -> None:
    found = in_milliseconds([0.004, 0.001, 0.002, 0.003])
    assert found == {"p50": 2.0, "p90": 4.0, "p99": 4.0, "p999": 4.0, "max": 4.0}
    assert in_milliseconds([]) is None


def test_growth_is_that_of_the_second_half() -> None:
    counts = [0, 100, 500, 600, 800, 1000]
    # 1 MB in 100 requests from 500 on; what comes before is warming up.
    assert growth(counts, [0, 900, 10, 11, 13, 15]) == pytest.approx(1000)
    assert growth(counts, [7] * 6) == 0
    assert growth([0, 10], [1, 2]) is None
    assert growth([], []) is None
