"""The look that all plots share. Figures are made without pyplot, so no state is global."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from doctor_derma.evaluation.bootstrap import Interval

Look = TypeVar("Look")
DPI = 110
INK = "#1f2933"
MUTED = "#7b8794"
GRID = "#e4e7eb"

# Okabe and Ito's colours, which most colour-blind people tell apart, without their yellow
# (too faint on white) and with wine and grey; line styles repeat the distinction.
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#882255", "#6b7280")
# A line style of matplotlib: a name, or where dashes begin and how long they are.
Dash = str | tuple[int, tuple[float, ...]]
DASHES: tuple[Dash, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
MODEL_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#882255", "#56b4e9")


def in_turn(names: Iterable[str], looks: Sequence[Look]) -> dict[str, Look]:
    """Give each name its look; where there are more names, looks begin again."""
    return dict(zip(names, cycle(looks), strict=False))


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """Give each class its colour, the same in every plot of the data set."""
    return in_turn(classes, PALETTE)


def new_figure(width: float = 6.4, height: float = 5.6) -> Figure:
    """Make an empty figure; sizes are in inches."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def style_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Title and label axes, with a light grid and no box."""
    axes.set_title(title, loc="left", color=INK, fontsize=11.5, fontweight="bold", pad=9)
    axes.set_xlabel(x_label, color=INK, fontsize=10)
    axes.set_ylabel(y_label, color=INK, fontsize=10)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)


def square_unit_axes(axes: Axes) -> None:
    """Show 0 to 1 on both axes at the same scale."""
    axes.set_xlim(-0.015, 1.015)
    axes.set_ylim(-0.015, 1.015)
    axes.set_aspect("equal")


def legend_below(figure: Figure, axes: Axes, columns: int, title: str) -> None:
    """Put the legend under the axes, where it hides no curve."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8.8,
        labelcolor=INK,
        title=title,
        title_fontproperties={"size": 9, "weight": "bold"},
        handlelength=2.4,
    )


def draw_interval(
    axes: Axes, row: float, interval: Interval, colour: str, marker: str = "o"
) -> None:
    """Draw a marker at the value on a band from the lower to the upper limit."""
    limits = [interval.low, interval.high]
    axes.plot(limits, [row, row], color=colour, linewidth=4, alpha=0.4, solid_capstyle="round")
    axes.plot(interval.value, row, marker=marker, markersize=8, color=colour)


def write_title(figure: Figure, text: str, size: float = 11.5) -> None:
    """Write a figure's title, at its left edge."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=size, fontweight="bold", color=INK)


def write_beside(axes: Axes, row: float, text: str) -> None:
    """Write a text to the right of the axes, level with a row."""
    axes.text(
        1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.8, color=INK
    )


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes for the same figure, with at most 256 colours.

    So few are a third of the bytes, and enough for a plot.
    """
    drawn = BytesIO()
    figure.savefig(drawn, dpi=DPI, bbox_inches="tight", pad_inches=0.14)
    with Image.open(drawn) as image:
        colours = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(path, "PNG", optimize=True)
