"""Architectures over several seeds: each seed's difference, their mean and its interval."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doctor_derma.evaluation.plots.models import SIGNIFICANT_COLOUR, style_panel
from doctor_derma.evaluation.plots.style import INK, MUTED, draw_interval, new_figure, write_beside
from doctor_derma.evaluation.replicates import SeedComparison, SeedDifference, compared_metrics
from doctor_derma.evaluation.tables import counted, state_p

SEED_COLOUR = "#d55e00"
SEED_ABOVE = 0.27


def plot_seed_differences(comparison: SeedComparison) -> Figure:
    """Draw a panel a metric and a row a pair: dots of the seeds above their mean's interval."""
    metrics = compared_metrics(comparison.models[0].classes)
    pairs = len(comparison.differences) // len(metrics)
    rows = np.arange(pairs)[::-1]
    figure = new_figure(7.2, (0.85 + 0.52 * pairs) * len(metrics) + 0.9)
    panels = figure.subplots(len(metrics), 1)
    for axes, (metric, title) in zip(panels, metrics.items(), strict=True):
        family = [d for d in comparison.differences if d.metric == metric]
        for row, difference in zip(rows, family, strict=True):
            _draw(axes, row, difference)
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
        style_panel(axes, metric, title)
        axes.set_xlim(*_limits(family))
        axes.set_yticks(rows, [f"{d.second}\nminus {d.first}" for d in family])
        axes.set_ylim(-0.5, pairs - 0.4)
    figure.suptitle(
        f"Paired differences over {counted(len(comparison.seeds), 'seed')}, "
        f"{comparison.models[0].lesion_count:,} lesions",
        x=0.01,
        ha="left",
        fontsize=12.5,
        fontweight="bold",
        color=INK,
    )
    panels[-1].set_xlabel(
        "Small dots: one seed each. Large marks: their mean with its 95% interval over seeds\n"
        "and lesions, and Holm-corrected p; blue where larger than luck, else grey.",
        color=INK,
        fontsize=10,
    )
    return figure


def _draw(axes: Axes, row: int, difference: SeedDifference) -> None:
    colour, marker = (SIGNIFICANT_COLOUR, "o") if difference.is_clear else (MUTED, "D")
    draw_interval(axes, row, difference.interval, colour, marker)
    axes.plot(
        difference.by_seed,
        [row + SEED_ABOVE] * len(difference.by_seed),
        linestyle="",
        marker="o",
        markersize=5,
        color=SEED_COLOUR,
        alpha=0.75,
        markeredgewidth=0,
        zorder=3,
    )
    mean = difference.interval.value
    text = f"{mean:+.3f}   {state_p(difference.p_holm)}" if np.isfinite(mean) else "undefined"
    write_beside(axes, row, text)


def _limits(family: list[SeedDifference]) -> tuple[float, float]:
    """Return limits as far to the left of zero as to the right, with all that is drawn."""
    drawn = [v for d in family for v in (d.interval.low, d.interval.high, *d.by_seed)]
    widest = max((abs(value) for value in drawn if np.isfinite(value)), default=0.0)
    limit = 1.12 * widest or 0.01
    return -limit, limit
