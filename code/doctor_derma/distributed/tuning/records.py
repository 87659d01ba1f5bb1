"""What is known of each trial: its settings, its state and the course of its score."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from doctor_derma.distributed.tuning.folder import SweepFolder
from doctor_derma.distributed.tuning.trial_run import has_ended, validated_epochs
from doctor_derma.errors import DermaError
from doctor_derma.training.runs import INFO_FILE, Run, open_run

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

State = Literal["waiting", "training", "paused", "complete", "stopped early", "failed"]
_OPEN_STATES = ("waiting", "training", "paused")


@dataclass(frozen=True)
class TrialRecord:
    """A trial as its run's folder and Tune tell of it.

    ``scores`` are the sweep's metric by epoch, counted from 1, in the epochs that were
    validated; ``seconds`` those that training took.
    """

    name: str
    state: State
    settings: dict[str, Any]
    scores: dict[int, float]
    seconds: float
    run: Run | None
    failure: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the trial still has epochs to train."""
        return self.state in _OPEN_STATES

    def best(self, mode: str) -> tuple[int, float] | None:
        """Return the best validated epoch and its score, the first one where several tie."""
        known = [(epoch, score) for epoch, score in self.scores.items() if math.isfinite(score)]
        sign = -1 if mode == "max" else 1
        return min(known, key=lambda found: sign * found[1], default=None)


def read_record(made: SweepFolder, runs: Path, trial: "Trial") -> TrialRecord:
    """Read what is known of a trial of Tune's."""
    name = str(trial)
    run = open_run(runs, name) if (runs / name / INFO_FILE).is_file() else None
    rows = validated_epochs(run) if run else []
    scores = {epoch + 1: metrics[made.sweep.metric] for epoch, metrics in rows}
    return TrialRecord(
        name=name,
        state=_state(trial, run, scores),
        settings={setting: trial.config[setting] for setting in made.sweep.space},
        scores=scores,
        seconds=sum(metrics["seconds"] for _, metrics in rows),
        run=run,
        failure=_failure(trial),
    )


def ranked(records: Iterable[TrialRecord], mode: str) -> list[TrialRecord]:
    """Sort trials by their best score, the best one first and those without one last."""
    sign = -1 if mode == "max" else 1

    def place(record: TrialRecord) -> tuple[float, str]:
        best = record.best(mode)
        return (sign * best[1] if best else math.inf, record.name)

    return sorted(records, key=place)


def _state(trial: "Trial", run: Run | None, scores: dict[int, float]) -> State:
    if trial.status == trial.ERROR:
        return "failed"
    if trial.status == trial.RUNNING:
        return "training"
    if trial.status == trial.TERMINATED:
        at_end = run and (has_ended(run.folder) or max(scores, default=0) >= run.config.epochs)
        return "complete" if at_end else "stopped early"
    return "paused" if scores else "waiting"


def _failure(trial: "Trial") -> str | None:
    """Return the last line of what a trial failed with."""
    if trial.status != trial.ERROR or not trial.error_file:
        return None
    lines = Path(trial.error_file).read_text().strip().splitlines()
    # A mistake in the input is said without the name of its class, as everywhere.
    return lines[-1].removeprefix(f"{DermaError.__module__}.DermaError: ")[:300] if lines else None
