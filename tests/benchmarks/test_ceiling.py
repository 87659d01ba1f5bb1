"""Every sensible way of sharing the processors is tried."""

from serving_bench.ceiling import LAYOUTS, ways


def test_ways_of_two_processors() -> None:
    tried = list(ways(2, (1, 8)))
    assert ("a batch per thread", 2, 1, False, 8) in tried
    assert ("before one network", 2, 2, False, 1) in tried
    assert len(set(tried)) == len(tried) == 10
    assert {layout for layout, *_ in tried} == set(LAYOUTS)


def test_ways_of_one_processor() -> None:
    assert {inside for _, _, inside, _, _ in ways(1, (1, 8))} == {1}
