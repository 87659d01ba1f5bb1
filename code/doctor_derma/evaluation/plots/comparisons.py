"""Models side by side: their metrics, and paired differences, over seeds as well."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.comparison import Comparison, Difference
from doctor_derma.evaluation.metrics import HEADLINE_METRICS, LOWER_IS_BETTER
from doctor_derma.evaluation.plots.style import (
    INK,
    MARKERS,
    MODEL_COLOURS,
    MUTED,
    draw_interval,
    in_turn,
    legend_below,
    new_figure,
    style_axes,
    write_beside,
    write_title,
)
from doctor_derma.evaluation.seeds import SeedComparison, SeedDifference, compared_metrics
from doctor_derma.evaluation.tables import counted, state_p

SIGNIFICANT_COLOUR = "#0072b2"
SEED_COLOUR = "#d55e00"
SEED_ABOVE = 0.27


def plot_model_metrics(comparison: Comparison) -> Figure:
    """Draw a forest plot: one panel a headline metric, one row a model."""
    names = [model.name for model in comparison.models]
    colours, markers = in_turn(names, MODEL_COLOURS), in_turn(names, MARKERS)
    rows = np.arange(len(names))[::-1]
    figure = new_figure(6.8, (1.0 + 0.36 * len(names)) * len(HEADLINE_METRICS))
    panels = figure.subplots(len(HEADLINE_METRICS), 1)
    for axes, (metric, title) in zip(panels, HEADLINE_METRICS.items(), strict=True):
        for row, name in zip(rows, names, strict=True):
            interval = comparison.intervals[name][metric]
            draw_interval(axes, row, interval, colours[name], markers[name])
            write_beside(axes, row, str(interval))
        _style_panel(axes, metric, title)
        axes.set_yticks(rows, names)
        axes.set_ylim(-0.6, len(names) - 0.4)
    return figure


def plot_intervals(
    sides: Mapping[str, Mapping[str, Interval]], titles: Mapping[str, str], title: str
) -> Figure:
    """Draw a row a metric, from 0 to 1, with the interval of each side that has it."""
    colours, markers = in_turn(sides, MODEL_COLOURS), in_turn(sides, MARKERS)
    rows = np.arange(len(titles))[::-1]
    figure = new_figure(7.6, 1.4 + 0.42 * len(titles))
    axes = figure.subplots()
    for position, (side, found) in enumerate(sides.items()):
        for row, metric in zip(rows, titles, strict=True):
            if metric in found:
                height = row + 0.16 * (len(sides) - 1 - 2 * position)
                draw_interval(axes, height, found[metric], colours[side], markers[side])
        axes.plot([], [], color=colours[side], marker=markers[side], label=side)
    style_axes(axes, title, "With 95% interval", "")
    axes.set_xlim(-0.02, 1.02)
    axes.set_yticks(rows, list(titles.values()))
    legend_below(figure, axes, len(sides), "")
    return figure


def plot_differences(comparison: Comparison) -> Figure:
    """Draw the paired differences: one panel a headline metric, one row a pair of models."""
    note = "Difference, second model minus first, with 95% interval and Holm-corrected p"
    return _plot_differences(comparison.differences, HEADLINE_METRICS, note)


def plot_seed_differences(comparison: SeedComparison) -> Figure:
    """Draw a panel a metric and a row a pair: dots of the seeds above their mean's interval."""
    note = (
        "Small dots: one seed each. Large marks: their mean with its 95% interval over seeds\n"
        "and lesions, and Holm-corrected p; blue where significant, else grey."
    )
    metrics = compared_metrics(comparison.models[0].classes)
    figure = _plot_differences(comparison.differences, metrics, note)
    write_title(
        figure,
        f"Paired differences over {counted(len(comparison.seeds), 'seed')}, "
        f"{comparison.models[0].lesion_count:,} lesions",
        size=12.5,
    )
    return figure


def _plot_differences(
    differences: Sequence[Difference], metrics: Mapping[str, str], note: str
) -> Figure:
    pairs = len(differences) // len(metrics)
    rows = np.arange(pairs)[::-1]
    figure = new_figure(7.2, (0.9 + 0.48 * pairs) * len(metrics) + 0.6)
    panels = figure.subplots(len(metrics), 1)
    for axes, (metric, title) in zip(panels, metrics.items(), strict=True):
        family = [d for d in differences if d.metric == metric]
        for row, difference in zip(rows, family, strict=True):
            _draw_difference(axes, row, difference)
        drawn = [v for d in family for v in (d.interval.low, d.interval.high, *_steps(d))]
        # As far to the left of zero as to the right, with all that is drawn.
        limit = 1.12 * max((abs(v) for v in drawn if np.isfinite(v)), default=0.0) or 0.01
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
        _style_panel(axes, metric, title)
        axes.set_xlim(-limit, limit)
        axes.set_yticks(rows, [f"{d.second}\nminus {d.first}" for d in family])
        axes.set_ylim(-0.5, pairs - 0.4)
    panels[-1].set_xlabel(note, color=INK, fontsize=10)
    return figure


def _draw_difference(axes: Axes, row: int, difference: Difference) -> None:
    colour, marker = (SIGNIFICANT_COLOUR, "o") if difference.is_significant else (MUTED, "D")
    draw_interval(axes, row, difference.interval, colour, marker)
    steps = _steps(difference)
    axes.plot(
        steps,
        [row + SEED_ABOVE] * len(steps),
        linestyle="",
        marker="o",
        markersize=5,
        color=SEED_COLOUR,
        alpha=0.75,
        markeredgewidth=0,
        zorder=3,
    )
    value = difference.interval.value
    text = f"{value:+.3f}   {state_p(difference.p_holm)}" if np.isfinite(value) else "undefined"
    write_beside(axes, row, text)


def _steps(difference: Difference) -> tuple[float, ...]:
    return difference.by_seed if isinstance(difference, SeedDifference) else ()


def _style_panel(axes: Axes, metric: str, title: str) -> None:
    """Title the panel of a metric, with the direction that is better, and space its ticks."""
    direction = "lower" if metric in LOWER_IS_BETTER else "higher"
    style_axes(axes, f"{title}  ({direction} is better)", "", "")
    axes.title.set_fontsize(10.5)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
