"""A sweep in the terms of Ray Tune: its space, its search, its scheduler."""

import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import BasicVariantGenerator, SearchAlgorithm, Searcher
from ray.tune.search.sample import Domain

from doctor_derma.distributed.tuning.checks import most_epochs
from doctor_derma.distributed.tuning.dimension import Dimension
from doctor_derma.distributed.tuning.folder import SweepFolder
from doctor_derma.distributed.tuning.job import Job
from doctor_derma.distributed.tuning.sweep import Sweep
from doctor_derma.distributed.tuning.trial import run_trial
from doctor_derma.distributed.tuning.trial_run import EPOCH
from doctor_derma.distributed.tuning.watching import Watcher, Watching, watched_by

# A trial whose machine is lost goes on elsewhere; one that fails by itself fails again at once.
_RETRIES = 2
# PBT may copy a state that its trial has left behind some reports ago.
_STATES_KEPT = 4
_ENVIRONMENT = {
    # The screen is ours, and so are the files of results.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Seconds between two notes of where the sweep is, which a resumed one begins from.
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@dataclass(frozen=True)
class TrialNames:
    """Names trials after the sweep and their place in it: ``sweep_01``, ``sweep_02``, ..."""

    sweep: str
    first: int

    def __call__(self, trial: Trial) -> str:
        # Tune's tag begins with the number of the trial, whose id is random.
        number = int(trial.experiment_tag.split("_")[0]) + 1 - self.first
        return f"{self.sweep}_{number:02d}"


@dataclass(frozen=True)
class WithinSpace:
    """Brings settings that PBT has moved back into the ranges of the sweep."""

    space: dict[str, Dimension]

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        return {name: self.space[name].nearest(value) for name, value in config.items()}


def fit_trials(made: SweepFolder, job: Job, watcher: Watcher) -> None:
    """Train the trials of a sweep on the cluster that this process has joined.

    Where the sweep has begun, it goes on; where it is interrupted with Ctrl+C, its state is
    kept and this returns.
    """
    _prepare(made.sweep)
    with watched_by(watcher):
        _tuner(made, job).fit()


def _tuner(made: SweepFolder, job: Job) -> tune.Tuner:
    trainable = _trainable(made.sweep, job)
    space = {name: to_domain(values) for name, values in made.sweep.space.items()}
    if any(made.tune.glob("experiment_state-*")):
        # What had failed is tried again, as its cause may be gone.
        return tune.Tuner.restore(str(made.tune), trainable, resume_errored=True, param_space=space)
    sweep = made.sweep
    names = TrialNames(made.name, first=1 if sweep.search == "optuna" else 0)
    return tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric=sweep.metric,
            mode=sweep.mode,
            search_alg=_search(sweep),
            scheduler=_scheduler(sweep),
            num_samples=sweep.trials,
            # Tune limits no search but those that learn; the other one limits itself.
            max_concurrent_trials=sweep.parallel if sweep.search == "optuna" else None,
            # Loading torch takes as long as an epoch or two of small pictures.
            reuse_actors=True,
            trial_name_creator=names,
            trial_dirname_creator=names,
        ),
        run_config=tune.RunConfig(
            name=made.tune.name,
            storage_path=str(made.folder),
            callbacks=[Watching()],
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=_STATES_KEPT),
            verbose=0,
        ),
    )


def to_domain(dimension: Dimension) -> Domain:
    """Return the values of a setting as Tune draws them."""
    if dimension.kind == "choice":
        return tune.choice(list(dimension.values))
    low, high = dimension.values
    if dimension.kind == "randint":
        return tune.randint(low, high + 1)  # Tune's upper end is not in the range.
    return tune.uniform(low, high) if dimension.kind == "uniform" else tune.loguniform(low, high)


def _trainable(sweep: Sweep, job: Job) -> Callable[..., Any]:
    resources = {"cpu": sweep.cpus_per_trial, "gpu": sweep.gpus_per_trial}
    with_job = tune.with_parameters(run_trial, job=job)
    return tune.with_resources(with_job, resources)


def _search(sweep: Sweep) -> Searcher | SearchAlgorithm:
    if sweep.search == "random":
        return BasicVariantGenerator(max_concurrent=sweep.parallel or 0, random_state=sweep.seed)
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaSearch(seed=sweep.seed)


def _scheduler(sweep: Sweep) -> TrialScheduler:
    if sweep.scheduler == "asha":
        return ASHAScheduler(
            time_attr=EPOCH,
            max_t=most_epochs(sweep),
            grace_period=sweep.grace_epochs,
            reduction_factor=sweep.reduction,
            # A trial that reaches its last epoch ends by itself.
            stop_last_trials=False,
        )
    if sweep.scheduler == "pbt":
        return PopulationBasedTraining(
            time_attr=EPOCH,
            perturbation_interval=sweep.grace_epochs,
            hyperparam_mutations={
                name: list(values.values) if values.kind == "choice" else to_domain(values)
                for name, values in sweep.space.items()
            },
            custom_explore_fn=WithinSpace(sweep.space),
        )
    return FIFOScheduler()


def _prepare(sweep: Sweep) -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    random.seed(sweep.seed)  # PBT draws its changes there.
