"""What each worker gets of clusters of several shapes."""

from collections.abc import Sequence

import pytest

from doctor_derma.distributed.training.shares import Share, cpus_each


@pytest.mark.parametrize(
    ("workers", "cpus", "places", "each"),
    [
        (1, [2], [2], 2),
        (2, [2], [2], 1),
        (2, [4, 4], [4, 4], 4),
        (3, [4, 4], [4, 4], 2),  # of 4 and 4, three workers can't have 3 each
        (2, [0, 8], [0, 8], 4),  # a head that offers nothing
        (2, [8, 1], [8, 1], 4),
        (4, [16, 16], [2, 2], 8),  # two GPUs a node
        (5, [16, 16], [2, 2], 0),
        (3, [1, 1], [1, 1], 0),
    ],
)
def test_workers_share_all_cpus_node_by_node(
    workers: int, cpus: Sequence[int], places: Sequence[int], each: int
) -> None:
    assert cpus_each(workers, cpus, places) == each


def test_a_worker_asks_for_a_gpu_only_where_it_gets_one() -> None:
    assert Share(3, gpu=False).resources == {"CPU": 3}
    assert Share(3, gpu=True).resources == {"CPU": 3, "GPU": 1}
