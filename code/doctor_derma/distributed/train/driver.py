"""What the process that started a run does: start the workers, listen, and stop them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from doctor_derma.data.manifest import Dataset
from doctor_derma.distributed.train.group import RESTARTS, Outcome, fit_workers
from doctor_derma.distributed.train.messages import Job, View
from doctor_derma.distributed.train.progress import Listener
from doctor_derma.distributed.train.worker import identity
from doctor_derma.errors import DermaError, kind_and_line
from doctor_derma.training.epochs import OnEpoch
from doctor_derma.training.runs import Run, RunIsStopped

_SECONDS_TO_STOP = 20


def divide(
    workers: int, accelerator: str, nodes: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Return what each of so many workers can have of nodes with so many ``CPU`` and ``GPU``.

    A worker gets one GPU or none, and as many CPUs as let all workers find room, counted node
    by node.

    Parameters
    ----------
    accelerator : the recipe's; ``cpu`` leaves GPUs alone, ``auto`` takes them where there are any

    Raises
    ------
    DermaError
        When the nodes have fewer CPUs or GPUs than there are workers.
    """
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
    most = gpus if gpu else cpus
    for each in range(max(cpus), 0, -1):
        room = sum(min(own // each, at_most) for own, at_most in zip(cpus, most, strict=True))
        if room >= workers:
            return {"CPU": each, "GPU": 1} if gpu else {"CPU": each}
    raise DermaError(
        f"--workers {workers}: the nodes with GPUs lack a CPU for each; take fewer workers"
    )


def drive(
    run: Run,
    dataset: Dataset,
    workers: int,
    resources: dict[str, float],
    on_epoch: OnEpoch | None,
    advice: str,
) -> None:
    """Train a run on the cluster that this process is in.

    Parameters
    ----------
    resources : of each worker, from ``divide``
    advice : how to go on, at the end of a message about a run that stopped

    Raises
    ------
    DermaError
        When the workers see other files or meet a mistake.
    RunIsStopped
        When the workers keep failing, or the cluster is lost.
    """
    try:
        outcome = _train_and_listen(run, dataset, workers, resources, on_epoch)
    except RayError as error:
        raise RunIsStopped(
            f"{run.folder}: the cluster was lost ({kind_and_line(error)}); start it again and "
            f"{advice}"
        ) from error
    if outcome.mistake:
        raise DermaError(outcome.mistake)
    if outcome.failure:
        raise RunIsStopped(
            f"{run.folder}: the workers failed {RESTARTS + 1} times ({outcome.failure}); mend "
            f"that and {advice}"
        )


def _train_and_listen(
    run: Run, dataset: Dataset, workers: int, resources: dict[str, float], on_epoch: OnEpoch | None
) -> Outcome:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    # The data as they were read here, whatever is in the folder by now.
    own = View(ray.util.get_node_ip_address(), identity(run, dataset))
    job = Job(run.folder.resolve(), dataset.folder.resolve(), own, "GPU" in resources, queue)
    # Ray Train waits in a process of its own, which can be stopped: in this one it would take
    # Ctrl+C for itself and end with exit status 0.
    task = ray.remote(fit_workers).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
    group = task.remote(job, workers, resources)
    with Listener(run, workers, on_epoch) as listener:
        try:
            while not ray.wait([group], timeout=0)[0]:
                with suppress(Empty):
                    listener.hear(queue.get(timeout=1))
            with suppress(Empty):
                while True:
                    listener.hear(queue.get(block=False))
        except BaseException:
            _stop(group)
            raise
        return ray.get(group)


def _stop(group: ray.ObjectRef[Any]) -> None:
    """End the workers: as Ray Train does on Ctrl+C, which frees their CPUs, or else by force."""
    for force in (False, True):
        ray.cancel(group, force=force)
        if ray.wait([group], timeout=_SECONDS_TO_STOP)[0]:
            return
