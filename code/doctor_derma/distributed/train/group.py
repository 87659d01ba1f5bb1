"""Ray Train's part: a group of workers that is started again when one of them dies.

Two processes beside the workers' read this file. It doesn't import Lightning and what belongs to
it, which takes each of them seconds.
"""

import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import ray.train.torch
from ray.exceptions import RayActorError
from ray.train import (
    FailureConfig,
    ScalingConfig,
    TrainingFailedError,
    UserCallback,
    WorkerGroupError,
)
from ray.util.queue import Queue

from doctor_derma.distributed.train.messages import Job, WorkersFailed
from doctor_derma.errors import kind_and_line

RESTARTS = 3
# What Ray says of its types is still that of the first Ray Train.
_train: Any = ray.train


class Outcome(NamedTuple):
    """How training ended.

    ``mistake`` says what is wrong with the input, ``failure`` why the workers failed once more than
    they may; each is one sentence, or None.
    """

    mistake: str | None = None
    failure: str | None = None


def fit_workers(job: Job, workers: int, resources: dict[str, float]) -> Outcome:
    """Train a run with a group of workers to its end; a task of Ray's."""
    # Ray Train's own notes. Checkpoints are in the run's folder, where ``--resume`` finds them.
    with tempfile.TemporaryDirectory(prefix="derma-ray-train-") as notes:
        trainer = _train.torch.TorchTrainer(
            _train_worker,
            train_loop_config={"job": job},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=job.gpu, resources_per_worker=resources
            ),
            run_config=_train.RunConfig(
                name=job.run.name,
                storage_path=notes,
                failure_config=FailureConfig(max_failures=RESTARTS),
                callbacks=[FailureReport(job.queue)],
                logging_config=_train.LoggingConfig(log_level="ERROR"),
            ),
        )
        try:
            return Outcome(mistake=trainer.fit().return_value)
        except WorkerGroupError as error:
            reasons = failures(error.worker_failures).values()
            return Outcome(failure="; ".join(sorted(set(reasons))))
        except TrainingFailedError as error:
            return Outcome(failure=kind_and_line(error))


def _train_worker(settings: dict[str, Any]) -> str | None:
    from doctor_derma.distributed.train.worker import train_worker

    return train_worker(settings["job"])


class FailureReport(UserCallback):
    """Tells which workers failed; Ray Train calls it before it starts them again."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def after_exception(self, run_context: Any, worker_exceptions: "dict[int, Exception]") -> None:
        """Put the first line of each failed worker's error into the queue."""
        self.queue.put(WorkersFailed(failures(worker_exceptions)))


def failures(errors: Mapping[int, Exception]) -> dict[int, str]:
    """Return the first line of each worker's error.

    When a worker dies the others fail too, as they wait for its gradients: then only those that
    died are told.
    """
    causes = {rank: getattr(error, "health_check_failure", error) for rank, error in errors.items()}
    died = {rank: error for rank, error in causes.items() if isinstance(error, RayActorError)}
    return {rank: kind_and_line(error) for rank, error in (died or causes).items()}
