"""A sweep in the terms of Ray Tune: its space, its search, its scheduler, and its screen."""

import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
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
from rich.console import Group
from rich.live import Live
from rich.text import Text

from doctor_derma.distributed.tune.folder import SweepFolder
from doctor_derma.distributed.tune.handover import EPOCH
from doctor_derma.distributed.tune.results import TrialRecord, read_record, trial_line, trials_table
from doctor_derma.distributed.tune.sweep import Dimension, Sweep
from doctor_derma.distributed.tune.trial import Job, run_trial
from doctor_derma.terminal import terminal

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
# On a terminal the best trials are shown, and all of those that train.
_MOST_ROWS = 15


@dataclass(frozen=True)
class TrialNames:
    """Names trials after the sweep and their place in it: ``sweep_01``, ``sweep_02``, ..."""

    sweep: str
    first: int

    def __call__(self, trial: Trial) -> str:
        """Return the name of a trial."""
        # Tune's tag begins with the number of the trial, whose id is random.
        number = int(trial.experiment_tag.split("_")[0]) + 1 - self.first
        return f"{self.sweep}_{number:02d}"


@dataclass(frozen=True)
class WithinSpace:
    """Brings settings that PBT has moved back into the ranges of the sweep."""

    space: dict[str, Dimension]

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return each setting at the nearest value that the sweep allows."""
        return {name: self.space[name].nearest(value) for name, value in config.items()}


class FairPopulation(PopulationBasedTraining):
    """Gives the next turn to the trial that has had the fewest, where not all fit the cluster.

    Ray's own rule is the fewest epochs, counted from the state that a trial took over: one that
    fell behind another's first epoch took it over again and again, and the other never went on.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._turns: Counter[str] = Counter()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Count a turn for the trial, and return PBT's decision on it."""
        self._turns[trial.trial_id] += 1
        return super().on_trial_result(tune_controller, trial, result)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return the waiting trial with the fewest turns; None where none waits."""
        states = (Trial.PENDING, Trial.PAUSED)
        waiting = [trial for trial in tune_controller.get_trials() if trial.status in states]
        return min(waiting, key=lambda trial: self._turns[trial.trial_id], default=None)


def fit_trials(made: SweepFolder, runs: Path, job: Job) -> list[TrialRecord]:
    """Train the trials of a sweep on the cluster that this process has joined.

    Where the sweep has begun, it goes on; where it is interrupted with Ctrl+C, its state is
    kept and this returns.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    random.seed(made.sweep.seed)  # PBT draws its changes there.
    screen = Screen(made, runs)
    token = _SCREEN.set(screen)
    try:
        with screen.live if screen.console.is_terminal else nullcontext():
            _tuner(made, job).fit()
    finally:
        _SCREEN.reset(token)
    return list(screen.records.values())


def _tuner(made: SweepFolder, job: Job) -> tune.Tuner:
    sweep = made.sweep
    resources = {"cpu": sweep.cpus_per_trial, "gpu": sweep.gpus_per_trial}
    trainable: Callable[..., Any] = tune.with_parameters(run_trial, job=job)
    trainable = tune.with_resources(trainable, resources)
    space = {name: to_domain(values) for name, values in sweep.space.items()}
    if any(made.tune.glob("experiment_state-*")):
        # What had failed is tried again, as its cause may be gone.
        return tune.Tuner.restore(str(made.tune), trainable, resume_errored=True, param_space=space)
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
            callbacks=[ScreenUpdates()],
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
            max_t=max(sweep.epochs()),
            grace_period=sweep.grace_epochs,
            reduction_factor=sweep.reduction,
            # A trial that reaches its last epoch ends by itself.
            stop_last_trials=False,
        )
    if sweep.scheduler == "pbt":
        return FairPopulation(
            time_attr=EPOCH,
            perturbation_interval=sweep.grace_epochs,
            hyperparam_mutations={
                name: list(values.values) if values.kind == "choice" else to_domain(values)
                for name, values in sweep.space.items()
            },
            custom_explore_fn=WithinSpace(sweep.space),
        )
    return FIFOScheduler()


class Screen:
    """Shows trials as they go: a table on a terminal, else a line for each that ends.

    ``records`` holds what was seen last of every trial, by name.
    """

    def __init__(self, made: SweepFolder, runs: Path) -> None:
        self.made = made
        self.runs = runs
        self.records: dict[str, TrialRecord] = {}
        self.console = terminal(error=True, soft_wrap=True)
        self.started = time.monotonic()
        self._seen: dict[str, tuple[Any, ...]] = {}
        # On another screen line: lines of a warning may come between.
        self.live = Live(console=self.console, transient=True, auto_refresh=False)

    def see(self, trials: list[Trial]) -> None:
        """Read the trials again that have changed, and show them."""
        for trial in trials:
            name, mark = str(trial), (trial.status, trial.last_result.get("training_iteration"))
            if self._seen.get(name) != mark:
                self._seen[name] = mark
                self._update(trial)
        if self.console.is_terminal:
            self.live.update(self._view(), refresh=True)

    def see_last(self, trials: list[Trial]) -> None:
        """Read what is on disk once more; what a trial was doing at the end is known already.

        Trials that were never seen had ended before a sweep was resumed.
        """
        for trial in trials:
            known = self.records.get(str(trial))
            if known is None:
                self._update(trial)
            elif known.is_open:
                last = read_record(self.made, self.runs, trial)
                self.records[known.name] = replace(last, state=known.state)

    def _update(self, trial: Trial) -> None:
        record = read_record(self.made, self.runs, trial)
        before = self.records.get(record.name)
        self.records[record.name] = record
        if not self.console.is_terminal and not record.is_open and before and before.is_open:
            self.console.print(trial_line(record, self.made.sweep))

    def _view(self) -> Group:
        sweep = self.made.sweep
        done = sum(not record.is_open for record in self.records.values())
        minutes = (time.monotonic() - self.started) / 60
        head = f"{self.made.name}: {done} of {sweep.trials} trials done, {minutes:.1f} min"
        table = trials_table(list(self.records.values()), sweep, rows=_MOST_ROWS)
        return Group(Text(head), table.__rich__())


_SCREEN: ContextVar[Screen | None] = ContextVar("screen", default=None)


class ScreenUpdates(tune.Callback):
    """Shows Tune's events on the screen, which it finds through the context.

    Tune writes its callbacks into the sweep's folder and reads them again when a sweep is
    resumed, so that they hold nothing themselves.
    """

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Show where the trials are."""
        if screen := _SCREEN.get():
            screen.see(trials)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Show how the trials ended."""
        if screen := _SCREEN.get():
            screen.see_last(trials)
