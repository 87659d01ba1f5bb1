"""What the process that started a run does: start the workers, listen, and stop them."""

from contextlib import suppress

import ray
from ray.exceptions import RayError
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from doctor_derma.data.manifest import Dataset
from doctor_derma.distributed.training.agreement import View, identity
from doctor_derma.distributed.training.group import RESTARTS, Outcome, fit_workers
from doctor_derma.distributed.training.listening import Listener
from doctor_derma.distributed.training.messages import first_line
from doctor_derma.distributed.training.resuming import how_to_go_on
from doctor_derma.distributed.training.shares import Share
from doctor_derma.distributed.training.worker import Job
from doctor_derma.errors import DermaError
from doctor_derma.training.epochs import OnEpoch
from doctor_derma.training.runs import Run

_SECONDS_TO_STOP = 20


def drive(run: Run, dataset: Dataset, workers: int, share: Share, on_epoch: OnEpoch | None) -> None:
    """Train a run on the cluster that this process is in.

    Raises
    ------
    DermaError
        When the workers see other files or meet a mistake, keep failing, or the cluster is lost.
    """
    try:
        outcome = _train(run, dataset, workers, share, on_epoch)
    except RayError as error:
        raise DermaError(
            f"{run.folder}: the cluster was lost ({first_line(error)}); start it again and "
            f"{how_to_go_on(run, workers)}"
        ) from error
    if outcome.mistake:
        raise DermaError(outcome.mistake)
    if outcome.failure:
        raise DermaError(
            f"{run.folder}: the workers failed {RESTARTS + 1} times ({outcome.failure}); mend "
            f"that and {how_to_go_on(run, workers)}"
        )


def _train(
    run: Run, dataset: Dataset, workers: int, share: Share, on_epoch: OnEpoch | None
) -> Outcome:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    folder, data = run.folder.resolve(), dataset.folder.resolve()
    # The data as they were read here, whatever is in the folder by now.
    own = View(ray.util.get_node_ip_address(), identity(run, dataset))
    job = Job(folder, data, own, share.gpu, queue)
    # In a process of its own, which can be stopped: there Ray Train waits, here is listened.
    task = ray.remote(fit_workers).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
    group = task.remote(job, workers, share)
    with Listener(run, workers, on_epoch) as listener:
        try:
            _listen(listener, queue, group)
        except BaseException:
            _stop(group)
            raise
        return ray.get(group)


def _listen(listener: Listener, queue: Queue, group: ray.ObjectRef) -> None:
    while not ray.wait([group], timeout=0)[0]:
        with suppress(Empty):
            listener.hear(queue.get(timeout=1))
    with suppress(Empty):
        while True:
            listener.hear(queue.get(block=False))


def _stop(group: ray.ObjectRef) -> None:
    """End the workers: as Ray Train does on Ctrl+C, which frees their CPUs, or else by force."""
    for force in (False, True):
        ray.cancel(group, force=force)
        if ray.wait([group], timeout=_SECONDS_TO_STOP)[0]:
            return
