"""What each worker gets of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import ray

from doctor_derma.errors import DermaError


@dataclass(frozen=True)
class Share:
    """What one worker gets: whole CPUs, and one GPU or none."""

    cpus: int
    gpu: bool

    @property
    def resources(self) -> dict[str, float]:
        return {"CPU": self.cpus, "GPU": 1} if self.gpu else {"CPU": self.cpus}


def worker_share(workers: int, accelerator: str) -> Share:
    """Return what each of so many workers can have of the cluster this process is in.

    A worker gets as many CPUs as let all workers find room, counted node by node.

    Parameters
    ----------
    accelerator : the recipe's; ``cpu`` leaves GPUs alone, ``auto`` takes them where there are any

    Raises
    ------
    DermaError
        When the cluster has fewer CPUs or GPUs than there are workers.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and sum(gpus) > 0)
    for kind, count in (("CPU", sum(cpus)), ("GPU", sum(gpus))):
        if count < workers and (kind == "CPU" or gpu):
            plural = "" if count == 1 else "s"
            raise DermaError(
                f"--workers {workers}: the cluster has {count} {kind}{plural}, and a worker needs "
                "one of its own; take fewer workers or add machines"
            )
    each = cpus_each(workers, cpus, gpus if gpu else cpus)
    if not each:
        raise DermaError(
            f"--workers {workers}: the nodes with GPUs lack a CPU for each; take fewer workers"
        )
    return Share(each, gpu)


def cpus_each(workers: int, cpus: Sequence[int], places: Sequence[int]) -> int:
    """Return the most CPUs that each worker can have, 0 where not all find room.

    Parameters
    ----------
    cpus : CPUs of each node
    places : workers that each node takes at most
    """
    for each in range(max(cpus), 0, -1):
        room = sum(min(own // each, most) for own, most in zip(cpus, places, strict=True))
        if room >= workers:
            return each
    return 0
