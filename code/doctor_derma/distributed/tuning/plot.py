"""The sweep as a picture: how trials went, and how the best score was found."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from doctor_derma.atomic import replacing_file
from doctor_derma.distributed.tuning.records import TrialRecord, ranked
from doctor_derma.distributed.tuning.sweep import Sweep

_BEST = "tab:orange"
_LOOKS = {
    "complete": {"color": "tab:blue", "marker": "o"},
    "stopped early": {"color": "0.6", "marker": "x"},
    "failed": {"color": "tab:red", "marker": "v"},
}


def plot_trials(records: list[TrialRecord], sweep: Sweep, title: str, path: Path) -> None:
    """Plot the metric by epoch, a line a trial, and each trial's best in the order of trials."""
    figure = Figure(figsize=(11, 4.2), layout="constrained", dpi=110)
    figure.suptitle(title)
    courses, bests = figure.subplots(1, 2, sharey=True)
    scored = [record for record in records if record.best(str(sweep.mode))]
    best = ranked(scored, str(sweep.mode))[0]
    _plot_courses(courses, scored, best, sweep)
    _plot_bests(bests, scored, best, sweep)
    for axes in (courses, bests):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    with replacing_file(path) as scratch:
        figure.savefig(scratch)


def _plot_courses(axes: Axes, records: list[TrialRecord], best: TrialRecord, sweep: Sweep) -> None:
    labelled = set()
    for record in sorted(records, key=lambda record: record is best):
        look = _LOOKS[record.state]
        label = str(record.state) if record.state not in labelled else None
        if record is best:
            look, label = look | {"color": _BEST}, f"best: {record.name}"
        elif label:
            labelled.add(label)
        epochs = sorted(record.scores)
        scores = [record.scores[epoch] for epoch in epochs]
        axes.plot(
            epochs,
            scores,
            color=look["color"],
            marker=look["marker"],
            markevery=[len(epochs) - 1],
            linewidth=2 if record is best else 1,
            label=label,
        )
    axes.set(title="Course of the trials", xlabel="epoch", ylabel=sweep.metric)


def _plot_bests(axes: Axes, records: list[TrialRecord], best: TrialRecord, sweep: Sweep) -> None:
    better = max if sweep.mode == "max" else min
    order = sorted(records, key=lambda record: record.name)
    numbers = [int(record.name.rsplit("_", 1)[1]) for record in order]
    scores = [found[1] for record in order if (found := record.best(str(sweep.mode)))]
    so_far = [better(scores[: place + 1]) for place in range(len(scores))]
    axes.step(numbers, so_far, where="post", color="0.4", linewidth=1, label="best so far")
    for state, look in _LOOKS.items():
        places = [place for place, record in enumerate(order) if record.state == state]
        if places:
            axes.scatter(
                [numbers[place] for place in places],
                [scores[place] for place in places],
                color=look["color"],
                marker=look["marker"],
                label=state,
                zorder=2,
            )
    place = order.index(best)
    axes.scatter(numbers[place], scores[place], color=_BEST, zorder=3, label=f"best: {best.name}")
    axes.set(title="Best score of each trial", xlabel="trial")
