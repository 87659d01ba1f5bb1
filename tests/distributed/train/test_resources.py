"""What each worker gets of clusters of several shapes."""

import pytest

from doctor_derma.distributed.train.driver import divide
from doctor_derma.errors import DermaError

Node = tuple[int, int]  # CPUs, GPUs


def divided(workers: int, accelerator: str, nodes: list[Node]) -> dict[str, float]:
    return divide(workers, accelerator, [{"CPU": cpus, "GPU": gpus} for cpus, gpus in nodes])


@pytest.mark.parametrize(
    ("workers", "nodes", "each"),
    [
        (1, [(2, 0)], 2),
        (2, [(2, 0)], 1),
        (2, [(4, 0), (4, 0)], 4),
        (3, [(4, 0), (4, 0)], 2),  # of 4 and 4, three workers can't have 3 each
        (2, [(0, 0), (8, 0)], 4),  # a head that offers nothing
        (2, [(8, 0), (1, 0)], 4),
        (2, [(4, 2)], 2),  # GPUs that are left alone
    ],
)
def test_workers_share_all_cpus_node_by_node(workers: int, nodes: list[Node], each: int) -> None:
    assert divided(workers, "cpu", nodes) == {"CPU": each}


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "auto"])
def test_workers_with_gpus_have_one_each(accelerator: str) -> None:
    assert divided(4, accelerator, [(16, 2), (16, 2)]) == {"CPU": 8, "GPU": 1}
    assert divided(2, accelerator, [(32, 0), (4, 2)]) == {"CPU": 2, "GPU": 1}


def test_a_worker_asks_for_a_gpu_only_where_there_is_one() -> None:
    assert divided(1, "auto", [(3, 0)]) == {"CPU": 3}


@pytest.mark.parametrize(
    ("workers", "accelerator", "nodes", "message"),
    [
        (3, "cpu", [(1, 0), (1, 0)], "the cluster has 2 CPUs, and a worker needs one of its own"),
        (2, "cpu", [(1, 0)], "the cluster has 1 CPU, and"),
        (1, "gpu", [(4, 0)], "the cluster has 0 GPUs, and"),
        (5, "auto", [(16, 2), (16, 2)], "the cluster has 4 GPUs, and"),
        (2, "gpu", [(8, 0), (1, 2)], "the nodes with GPUs lack a CPU for each; take fewer"),
    ],
)
def test_too_many_workers_are_refused(
    workers: int, accelerator: str, nodes: list[Node], message: str
) -> None:
    with pytest.raises(DermaError) as caught:
        divided(workers, accelerator, nodes)
    assert str(caught.value).startswith(f"--workers {workers}: {message}")
