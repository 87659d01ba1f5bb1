"""Ray Train's part: a group of workers that is started again when one of them dies."""

import tempfile
from dataclasses import dataclass
from typing import Any

import ray.train.torch
from ray.train import FailureConfig, ScalingConfig, TrainingFailedError, WorkerGroupError

from doctor_derma.distributed.training.messages import Losses, first_line, lost
from doctor_derma.distributed.training.shares import Share
from doctor_derma.distributed.training.worker import Job, train_worker

RESTARTS = 3
# What Ray says of its types is still that of the first Ray Train.
_train: Any = ray.train


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes
    ----------
    mistake : what is wrong with the input, in one sentence
    failure : why the workers failed once more than they may
    """

    mistake: str | None = None
    failure: str | None = None


def fit_workers(job: Job, workers: int, share: Share) -> Outcome:
    """Train a run with a group of workers to its end."""
    # Ray Train's own notes. Checkpoints are in the run's folder, where ``--resume`` finds them.
    with tempfile.TemporaryDirectory(prefix="derma-ray-train-") as notes:
        trainer = _train.torch.TorchTrainer(
            train_worker,
            train_loop_config={"job": job},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=job.gpu, resources_per_worker=share.resources
            ),
            run_config=_train.RunConfig(
                name=job.run.name,
                storage_path=notes,
                failure_config=FailureConfig(max_failures=RESTARTS),
                callbacks=[Losses(job.queue)],
                logging_config=_train.LoggingConfig(log_level="ERROR"),
            ),
        )
        try:
            return Outcome(mistake=trainer.fit().return_value)
        except WorkerGroupError as error:
            reasons = lost(error.worker_failures).values()
            return Outcome(failure="; ".join(sorted(set(reasons))))
        except TrainingFailedError as error:
            return Outcome(failure=first_line(error))
