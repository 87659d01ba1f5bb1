"""Two pictures: latency and queues by load, and a step in load."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from doctor_derma.atomic import replacing_file
from doctor_derma.evaluation.plots.style import (
    INK,
    MARKERS,
    MODEL_COLOURS,
    MUTED,
    legend_below,
    new_figure,
    save_png,
    style_axes,
)
from fleet.sizing import Promise, Run
from fleet.step import BEFORE_SECONDS, Step
from fleet.table import target_of

OFFERED, ANSWERED, REFUSED = MUTED, MODEL_COLOURS[2], MODEL_COLOURS[1]


def draw_loads(sweeps: Mapping[str, Sequence[Run]], promise: Promise, path: Path) -> None:
    """Draw p99 and waiting pictures by load, for each way of balancing."""
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2)
    for index, (policy, runs) in enumerate(sweeps.items()):
        look = {
            "color": MODEL_COLOURS[index],
            "marker": MARKERS[index],
            "markersize": 5,
            "label": policy,
        }
        loads = [run.load for run in runs]
        left.plot(loads, [1000 * run.p99 for run in runs], **look)
        right.plot(loads, [run.waiting for run in runs], **look)
    replicas, bound = next(iter(sweeps.values()))[0].replicas, 1000 * promise.p99_seconds
    left.axhline(bound, color=INK, linestyle=":", linewidth=1)
    left.text(left.get_xlim()[0], bound, f"  {bound:g} ms", va="bottom", color=INK, fontsize=9)
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter(NullFormatter())
    style_axes(left, "Latency of 99 in 100 answers", "", "p99, ms (log scale)")
    style_axes(right, "Pictures at a replica", "", "accepted and not yet answered, mean")
    for axes in (left, right):
        axes.set_xlabel(f"load, of the highest throughput of {replicas} replicas", color=INK)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    legend_below(figure, left, len(sweeps), "how the balancer chooses")
    with replacing_file(path) as scratch:
        save_png(figure, scratch)


def draw_steps(steps: Sequence[Step], promise: Promise, path: Path) -> None:
    """Draw requests, replicas and latency over time, a column for each autoscaler."""
    figure = new_figure(11, 8)
    grid = figure.subplots(3, len(steps), sharex=True, sharey="row", squeeze=False)
    for column, step in zip(grid.T, steps, strict=True):
        seconds = np.arange(len(step.offered)) - BEFORE_SECONDS
        _requests(column[0], seconds, step)
        _replicas(column[1], seconds, step)
        _latency(column[2], seconds, step, promise)
        column[2].set_xlabel("seconds since the step", color=INK)
    # Only now, as a limit that is set ends the scaling that a row shares.
    for axes in grid[1:, 0]:
        axes.set_ylim(bottom=0)
    legend_below(figure, grid[0, 0], 5, "requests in a second, replicas")
    with replacing_file(path) as scratch:
        save_png(figure, scratch)


def _requests(axes: Axes, seconds: np.ndarray, step: Step) -> None:
    axes.plot(seconds, step.offered, color=OFFERED, linewidth=1, label="offered")
    axes.plot(seconds, step.answered, color=ANSWERED, linewidth=1.4, label="answered")
    axes.plot(seconds, step.refused, color=REFUSED, linewidth=1.4, label="refused (503)")
    # For the legend alone: the lines are in the panel below.
    axes.plot([], [], color=INK, label="replicas ready")
    axes.plot([], [], color=INK, linestyle="--", label="replicas wanted")
    style_axes(axes, f"Target: {target_of(step.setup)}", "", "requests/s")


def _replicas(axes: Axes, seconds: np.ndarray, step: Step) -> None:
    axes.step(seconds, step.wanted, where="post", color=INK, linestyle="--", linewidth=1)
    axes.step(seconds, step.ready, where="post", color=INK, linewidth=1.6)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    style_axes(axes, "", "", "replicas")


def _latency(axes: Axes, seconds: np.ndarray, step: Step, promise: Promise) -> None:
    axes.plot(seconds, 1000 * step.p99, color=MODEL_COLOURS[0], linewidth=1.4)
    axes.axhline(1000 * promise.p99_seconds, color=INK, linestyle=":", linewidth=1)
    style_axes(axes, "", "", "p99 of the last 5 s, ms")
