"""Models side by side: their metrics, and paired differences, over seeds as well."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.comparison import Comparison, Difference
from doctor_derma.evaluation.metrics import HEADLINE_METRICS, LOWER_IS_BETTER
from doctor_derma.evaluation.plots import style
from doctor_derma.evaluation.seeds import SeedComparison, SeedDifference
from doctor_derma.evaluation.tables import counted, state_p

SIGNIFICANT_COLOUR = "#0072b2"
SEED_COLOUR = "#d55e00"
SEED_ABOVE = 0.27


def plot_model_metrics(comparison: Comparison) -> Figure:
    """Draw a forest plot: one panel a headline metric, one row a model."""
    names = [model.name for model in comparison.models]
    colours = style.in_turn(names, style.MODEL_COLOURS)
    markers = style.in_turn(names, style.MARKERS)
    rows = np.arange(len(names))[::-1]
    figure = style.new_figure(6.8, (1.0 + 0.36 * len(names)) * len(HEADLINE_METRICS))
    panels = figure.subplots(len(HEADLINE_METRICS), 1)
    for axes, (metric, title) in zip(panels, HEADLINE_METRICS.items(), strict=True):
        for row, name in zip(rows, names, strict=True):
            interval = comparison.intervals[name][metric]
            style.draw_interval(axes, row, interval, colours[name], markers[name])
            style.write_beside(axes, row, str(interval))
        _style_panel(axes, metric, title)
        axes.set_yticks(rows, names)
        axes.set_ylim(-0.6, len(names) - 0.4)
    return figure


def plot_intervals(
    sides: Mapping[str, Mapping[str, Interval]], titles: Mapping[str, str], title: str
) -> Figure:
    """Draw a row a metric, from 0 to 1, with the interval of each side that has it."""
    colours = style.in_turn(sides, style.MODEL_COLOURS)
    markers = style.in_turn(sides, style.MARKERS)
    rows = np.arange(len(titles))[::-1]
    figure = style.new_figure(7.6, 1.4 + 0.42 * len(titles))
    axes = figure.subplots()
    for position, (side, found) in enumerate(sides.items()):
        for row, metric in zip(rows, titles, strict=True):
            if metric in found:
                height = row + 0.16 * (len(sides) - 1 - 2 * position)
                style.draw_interval(axes, height, found[metric], colours[side], markers[side])
        axes.plot([], [], color=colours[side], marker=markers[side], label=side)
    style.style_axes(axes, title, "With 95% interval", "")
    axes.set_xlim(-0.02, 1.02)
    axes.set_yticks(rows, list(titles.values()))
    style.legend_below(figure, axes, len(sides), "")
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
    figure = _plot_differences(comparison.differences, comparison.titles, note)
    seeds, lesions = counted(len(comparison.seeds), "seed"), comparison.models[0].lesion_count
    style.write_title(figure, f"Paired differences over {seeds}, {lesions:,} lesions", size=12.5)
    return figure


def _plot_differences(
    differences: Sequence[Difference], metrics: Mapping[str, str], note: str
) -> Figure:
    pairs = len(differences) // len(metrics)
    rows = np.arange(pairs)[::-1]
    figure = style.new_figure(7.2, (0.9 + 0.48 * pairs) * len(metrics) + 0.6)
    panels = figure.subplots(len(metrics), 1)
    for axes, (metric, title) in zip(panels, metrics.items(), strict=True):
        family = [d for d in differences if d.metric == metric]
        for row, difference in zip(rows, family, strict=True):
            _draw_difference(axes, row, difference)
        drawn = [v for d in family for v in (d.interval.low, d.interval.high, *_steps(d))]
        # As far to the left of zero as to the right, with all that is drawn.
        limit = 1.12 * max((abs(v) for v in drawn if np.isfinite(v)), default=0.0) or 0.01
        axes.axvline(0, color=style.INK, linewidth=1, zorder=1)
        _style_panel(axes, metric, title)
        axes.set_xlim(-limit, limit)
        axes.set_yticks(rows, [f"{d.second}\nminus {d.first}" for d in family])
        axes.set_ylim(-0.5, pairs - 0.4)
    panels[-1].set_xlabel(note, color=style.INK, fontsize=10)
    return figure


def _draw_difference(axes: Axes, row: int, difference: Difference) -> None:
    colour, marker = (SIGNIFICANT_COLOUR, "o") if difference.is_significant else (style.MUTED, "D")
    style.draw_interval(axes, row, difference.interval, colour, marker)
    steps = _steps(difference)
    dot: dict[str, Any] = {"marker": "o", "markersize": 5, "markeredgewidth": 0, "alpha": 0.75}
    heights = [row + SEED_ABOVE] * len(steps)
    axes.plot(steps, heights, linestyle="", color=SEED_COLOUR, zorder=3, **dot)
    value = difference.interval.value
    text = f"{value:+.3f}   {state_p(difference.p_holm)}" if np.isfinite(value) else "undefined"
    style.write_beside(axes, row, text)


def _steps(difference: Difference) -> tuple[float, ...]:
    return difference.by_seed if isinstance(difference, SeedDifference) else ()


def _style_panel(axes: Axes, metric: str, title: str) -> None:
    """Title the panel of a metric, with the direction that is better, and space its ticks."""
    direction = "lower" if metric in LOWER_IS_BETTER else "higher"
    style.style_axes(axes, f"{title}  ({direction} is better)", "", "")
    axes.title.set_fontsize(10.5)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
