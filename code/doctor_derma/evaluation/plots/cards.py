"""The gallery as one picture: each card's picture, then each model's overlay."""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doctor_derma.evaluation.gallery import Card
from doctor_derma.evaluation.plots.style import DPI, INK, new_figure

RIGHT_COLOUR = "#00694c"
WRONG_COLOUR = "#b34700"
TILES_PER_ROW = 6
TILE_INCHES = 1.75
JPEG_QUALITY = 85


def plot_cards(cards: list[Card], title: str) -> Figure:
    """Draw cards in a grid; each needs at least one view and all need as many."""
    tiles = 1 + len(cards[0].views)
    cards_per_row = max(1, TILES_PER_ROW // tiles)
    columns, rows = cards_per_row * tiles, math.ceil(len(cards) / cards_per_row)
    figure = new_figure(columns * TILE_INCHES, rows * TILE_INCHES + 0.5)
    figure.suptitle(title, x=0.012, ha="left", fontsize=11.5, fontweight="bold", color=INK)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for position, card in enumerate(cards):
        row, first = position // cards_per_row, (position % cards_per_row) * tiles
        _draw_card(grid[row, first : first + tiles].tolist(), card)
    return figure


def save_jpeg(figure: Figure, path: Path) -> None:
    """Write a figure as JPEG."""
    figure.savefig(
        path,
        dpi=DPI,
        bbox_inches="tight",
        pad_inches=0.14,
        pil_kwargs={"quality": JPEG_QUALITY, "optimize": True},
    )


def _draw_card(tiles: list[Axes], card: Card) -> None:
    tiles[0].imshow(card.picture)
    tiles[0].set_title(f"true {card.true_class}\n{card.image}", fontsize=8, color=INK)
    for axes, view in zip(tiles[1:], card.views, strict=True):
        axes.imshow(card.picture if view.overlay is None else view.overlay)
        mark, colour = ("right", RIGHT_COLOUR) if view.right else ("wrong", WRONG_COLOUR)
        axes.set_title(
            f"{mark}: {view.label} {view.probability:.0%}\n{view.model}", fontsize=8, color=colour
        )
