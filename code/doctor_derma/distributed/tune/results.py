"""What became of each trial, as a table, as CSV and as a picture; the best one's recipe."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from doctor_derma.atomic import replacing_file
from doctor_derma.distributed.tune.folder import SweepFolder
from doctor_derma.distributed.tune.handover import validated_epochs
from doctor_derma.distributed.tune.sweep import Sweep
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.tables import Table
from doctor_derma.training.config import TrainConfig
from doctor_derma.training.runs import INFO_FILE, Run, has_ended, open_run

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

State = Literal["waiting", "training", "paused", "complete", "stopped early", "failed"]
_BEST = "tab:orange"
# Colour and marker of the trials of a state.
_LOOKS = {"complete": ("tab:blue", "o"), "stopped early": ("0.6", "x"), "failed": ("tab:red", "v")}


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
        return self.state in ("waiting", "training", "paused")

    @property
    def epochs(self) -> int:
        """The last epoch that was validated, 0 where there was none."""
        return max(self.scores, default=0)

    def best(self, sweep: Sweep) -> tuple[int, float] | None:
        """Return the best validated epoch and its score, the first one where several tie."""
        known = [(epoch, score) for epoch, score in self.scores.items() if math.isfinite(score)]
        better = max if sweep.mode == "max" else min
        return better(known, key=lambda found: found[1], default=None)


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
        seconds=_training_seconds(run) if run else 0.0,
        run=run,
        failure=_failure(trial),
    )


def _training_seconds(run: Run) -> float:
    """Add up all epochs, also those that were not validated."""
    if not run.metrics_file.is_file():
        return 0.0
    return float(pd.read_csv(run.metrics_file)["seconds"].sum())


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


def ranked(records: Iterable[TrialRecord], sweep: Sweep) -> list[TrialRecord]:
    """Sort trials by their best score, the best one first and those without one last."""
    sign = -1 if sweep.mode == "max" else 1

    def rank(record: TrialRecord) -> tuple[float, str]:
        best = record.best(sweep)
        return (sign * best[1] if best else math.inf, record.name)

    return sorted(records, key=rank)


def trials_table(records: list[TrialRecord], sweep: Sweep, rows: int) -> Table:
    """Tabulate so many trials, the best ones first; those that train are always in it."""
    order = ranked(records, sweep)
    shown = order[:rows] + [record for record in order[rows:] if record.state == "training"]
    header = ("trial", "state", "epochs", sweep.metric, "at epoch", "minutes", *sweep.space)
    left_out = len(records) - len(shown)
    note = f"and {left_out} more" if left_out else ""
    return Table("Trials", header, tuple(_row(each, sweep) for each in shown), note, words=2)


def _row(record: TrialRecord, sweep: Sweep) -> tuple[str, ...]:
    best = record.best(sweep)
    return (
        record.name,
        record.state,
        str(record.epochs),
        f"{best[1]:.4f}" if best else "",
        str(best[0]) if best else "",
        f"{record.seconds / 60:.1f}",
        *(_setting(record.settings[name]) for name in sweep.space),
    )


def trial_line(record: TrialRecord, sweep: Sweep) -> str:
    """Say in a line how a trial ended."""
    if record.state == "failed":
        return f"{record.name}: failed  {record.failure or ''}"
    best = record.best(sweep)
    score = f"{sweep.metric} {best[1]:.4f} at epoch {best[0]}" if best else "no score"
    settings = "  ".join(f"{name} {_setting(value)}" for name, value in record.settings.items())
    return f"{record.name}: {record.state} after {record.epochs} epochs  {score}  {settings}"


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_results(made: SweepFolder, order: list[TrialRecord]) -> None:
    """Write ``best.yaml``, ``trials.csv`` and ``trials.png``.

    Parameters
    ----------
    order : from ``ranked``; the first one has a score
    """
    with replacing_file(made.best_file) as scratch:
        scratch.write_text(_recipe(made, order[0]))
    with replacing_file(made.table_file) as scratch:
        rows = [_values(record, made.sweep) for record in order]
        pd.DataFrame(rows).to_csv(scratch, index=False)
    with replacing_file(made.plot_file) as scratch:
        _plot(order, made.sweep, made.name).savefig(scratch)


def _recipe(made: SweepFolder, best: TrialRecord) -> str:
    """Return the recipe of the best trial as YAML, with where it comes from in a comment."""
    sweep = made.sweep
    epoch, score = best.best(sweep) or (0, math.nan)
    comment = (
        f"# The best of {sweep.trials} trials of sweep {made.name}: {best.name},\n"
        f"# {sweep.metric} {score:.6f} after epoch {epoch}, on {made.info.data_name}.\n"
        f"# Drawn for it: {', '.join(sweep.space)}.\n"
    )
    if sweep.scheduler == "pbt":
        comment += "# Under PBT these are its last settings; earlier epochs may have had others.\n"
    recipe = TrainConfig.model_validate(sweep.base | best.settings)
    return comment + yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _values(record: TrialRecord, sweep: Sweep) -> dict[str, Any]:
    epoch, score = record.best(sweep) or (None, math.nan)
    return {
        "trial": record.name,
        "state": record.state,
        "epochs": record.epochs,
        sweep.metric: score,
        "at_epoch": epoch,
        "seconds": round(record.seconds, 1),
        **record.settings,
        "failure": record.failure,
    }


def _plot(order: list[TrialRecord], sweep: Sweep, title: str) -> Figure:
    """Plot the metric by epoch, a line a trial, and each trial's best in the order of trials."""
    figure = Figure(figsize=(11, 4.2), layout="constrained", dpi=110)
    figure.suptitle(title)
    courses, bests = figure.subplots(1, 2, sharey=True)
    scored = [record for record in order if record.best(sweep)]
    _plot_courses(courses, scored, sweep)
    _plot_bests(bests, scored, sweep)
    for axes in (courses, bests):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        # Named, as matplotlib warns of this default where to find a place takes over a second.
        axes.legend(loc="best", frameon=False)
    return figure


def _plot_courses(axes: Axes, order: list[TrialRecord], sweep: Sweep) -> None:
    labelled = set()
    for record in (*order[1:], order[0]):  # The best one is drawn over the others.
        (colour, marker), width, label = _LOOKS[record.state], 1, ""
        if record is order[0]:
            colour, width, label = _BEST, 2, f"best: {record.name}"
        elif record.state not in labelled:
            label = record.state
            labelled.add(label)
        course = sorted(record.scores.items())
        axes.plot(
            *zip(*course, strict=True),
            color=colour,
            marker=marker,
            markevery=[len(course) - 1],
            linewidth=width,
            label=label,
        )
    axes.set(title="Course of the trials", xlabel="epoch", ylabel=sweep.metric)


def _plot_bests(axes: Axes, order: list[TrialRecord], sweep: Sweep) -> None:
    table = pd.DataFrame(
        [
            (int(record.name.rsplit("_", 1)[1]), found[1], record.state)
            for record in order
            if (found := record.best(sweep))
        ],
        columns=["number", "score", "state"],
    )
    in_time = table.sort_values("number")
    so_far = in_time["score"].cummax() if sweep.mode == "max" else in_time["score"].cummin()
    axes.step(
        in_time["number"], so_far, where="post", color="0.4", linewidth=1, label="best so far"
    )
    for state, (colour, marker) in _LOOKS.items():
        if len(rows := table[table["state"] == state]):
            points = rows["number"], rows["score"]
            axes.scatter(*points, color=colour, marker=marker, label=state, zorder=2)
    best = table["number"][0], table["score"][0]
    axes.scatter(*best, color=_BEST, zorder=3, label=f"best: {order[0].name}")
    axes.set(title="Best score of each trial", xlabel="trial")
