"""Pictures that models name rightly, wrongly or differently, with class activation maps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from doctor_derma.evaluation.plots.style import DPI, INK, new_figure
from doctor_derma.evaluation.predictions import Predictions, open_picture
from doctor_derma.terminal import with_progress

CARD_WIDTH = 240
MAP_COLOURS = "viridis"
MAP_OPACITY = 0.65
RIGHT_COLOUR = "#00694c"
WRONG_COLOUR = "#b34700"
TILES_PER_ROW = 6
TILE_INCHES = 1.75
JPEG_QUALITY = 85
TITLES = {
    "gallery_right": "Right with most confidence",
    "gallery_wrong": "Wrong with most confidence",
    "gallery_disagreements": "Where the models disagree",
}
MAP_CAPTION = (
    "The brighter the overlay, the more evidence for the class that the model calls, scaled "
    "picture by picture; it shows where the model looks, not why. One picture a lesion."
)


@dataclass(frozen=True, eq=False)
class View:
    """One model on one picture; ``overlay`` is uint8 [height, width, 3], None without maps."""

    model: str
    label: str
    probability: float
    right: bool
    overlay: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Card:
    """A picture, uint8 [height, width, 3], with its true class and a view a model."""

    image: str
    true_class: str
    picture: np.ndarray
    views: tuple[View, ...]


def confident_right(predictions: Predictions, per_class: int = 2) -> list[int]:
    """Pick the rows of each class that are right with most confidence, one a lesion."""
    rows: list[int] = []
    for index in range(len(predictions.classes)):
        right = predictions.correct & (predictions.labels == index)
        rows += _most_confident(predictions, right, predictions.confidence, per_class)
    return rows


def confident_wrong(predictions: Predictions, count: int = 12) -> list[int]:
    """Pick the rows that are wrong with most confidence, one a lesion."""
    return _most_confident(predictions, ~predictions.correct, predictions.confidence, count)


def disagreements(models: tuple[Predictions, ...], count: int = 8) -> list[int]:
    """Pick the rows where aligned models differ, all of them with most confidence."""
    predicted = np.stack([model.predicted for model in models])
    differ = (predicted != predicted[0]).any(axis=0)
    least_sure = np.min([model.confidence for model in models], axis=0)
    return _most_confident(models[0], differ, least_sure, count)


def make_cards(models: tuple[Predictions, ...], rows: list[int]) -> list[Card]:
    """Open the picture of each row and lay every model's map of its own decision over it.

    Raises
    ------
    DermaError
        When a picture can't be decoded.
    """
    return [_make_card(models, row) for row in with_progress(rows, "Opening pictures")]


def shrunk_picture(path: Path, width: int) -> np.ndarray:
    """Return a picture at some width, uint8 [height, width, 3].

    Raises
    ------
    DermaError
        When it can't be decoded.
    """
    image = open_picture(path)
    height = max(1, round(width * image.height / image.width))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def overlay_map(picture: np.ndarray, activation_map: np.ndarray) -> np.ndarray:
    """Lay a class activation map over a picture (Zhou et al., CVPR 2016).

    The map is scaled from its own least to its own greatest evidence and enlarged
    bilinearly; the least evidence leaves the picture as it is.

    Parameters
    ----------
    picture : uint8 [height, width, 3], as is what is returned
    activation_map : float [h, w], covering the whole picture
    """
    height, width = picture.shape[:2]
    spread = float(np.ptp(activation_map)) or 1.0
    scaled = Image.fromarray(((activation_map - activation_map.min()) / spread).astype(np.float32))
    enlarged = scaled.resize((width, height), Image.Resampling.BILINEAR)
    evidence = np.clip(np.asarray(enlarged), 0, 1)
    colours = colormaps[MAP_COLOURS](evidence)[..., :3] * 255
    opacity = MAP_OPACITY * evidence[..., None]
    return np.round(picture * (1 - opacity) + colours * opacity).astype(np.uint8)


def _most_confident(
    predictions: Predictions, eligible: np.ndarray, confidence: np.ndarray, count: int
) -> list[int]:
    rows: dict[str, int] = {}
    for row in np.argsort(-confidence, kind="stable"):
        if len(rows) == count:
            break
        path, lesion = str(predictions.paths[row]), str(predictions.lesions[row])
        if eligible[row] and lesion not in rows and path and Path(path).is_file():
            rows[lesion] = int(row)
    return list(rows.values())


def _make_card(models: tuple[Predictions, ...], row: int) -> Card:
    first = models[0]
    picture = shrunk_picture(Path(str(first.paths[row])), CARD_WIDTH)
    views = []
    for model in models:
        decision, maps = int(model.predicted[row]), model.activation_maps
        views.append(
            View(
                model.name,
                model.classes[decision],
                float(model.probabilities[row, decision]),
                decision == model.labels[row],
                None if maps is None else overlay_map(picture, maps[row, decision]),
            )
        )
    return Card(str(first.images[row]), first.classes[first.labels[row]], picture, tuple(views))


def plot_cards(cards: list[Card], title: str) -> Figure:
    """Draw cards in a grid; each needs at least one view and all need as many."""
    tiles = 1 + len(cards[0].views)
    cards_per_row = max(1, TILES_PER_ROW // tiles)
    columns, rows = cards_per_row * tiles, math.ceil(len(cards) / cards_per_row)
    figure = new_figure(columns * TILE_INCHES, rows * TILE_INCHES + 0.5)
    figure.suptitle(title, x=0.012, ha="left", fontsize=11.5, fontweight="bold", color=INK)
    places = figure.subplots(rows, columns, squeeze=False).reshape(-1, tiles)
    for axes in places.flat:
        axes.set_axis_off()
    for place, card in zip(places, cards, strict=False):
        _draw_card(place.tolist(), card)
    return figure


def save_galleries(galleries: Mapping[str, list[Card]], folder: Path) -> None:
    """Save each gallery, none of them empty, as one JPEG under its name, a key of ``TITLES``."""
    for name, cards in with_progress(list(galleries.items()), "Drawing galleries"):
        plot_cards(cards, TITLES[name]).savefig(
            folder / f"{name}.jpg",
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
        title = f"{mark}: {view.label} {view.probability:.0%}\n{view.model}"
        axes.set_title(title, fontsize=8, color=colour)
