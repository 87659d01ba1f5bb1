"""Deletion and insertion with a model whose probability rests on one known corner."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audits.explained import CLASSES, explained
from doctor_derma.audits.deletion import (
    SHARES,
    STEPS,
    area_under,
    blurred_picture,
    changing_pictures,
    deletion_table,
    measure_deletion,
    pick_pictures,
    plot_deletion,
    skin_picture,
)
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import Predictions

SKIN, LESION = (255, 255, 255), (0, 0, 0)


class CornerModel:
    """Its probability of melanoma is the darkness of the upper left quarter."""

    name = "corner"
    class_names = CLASSES

    def __init__(self, size: int) -> None:
        self.height = self.width = size

    def predict_pixels(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert pixels.dtype == np.uint8
        assert len(pixels) <= STEPS + 1
        quarter = pixels[:, : self.height // 2, : self.width // 2]
        dark = 1 - quarter.mean(axis=(1, 2, 3)) / 255
        return np.stack([dark, 1 - dark], axis=1), np.zeros((len(pixels), 2, 2, 2))


def corner_pictures(folder: Path, size: int, count: int) -> list[Path]:
    """Write pictures of white skin with a black upper left quarter."""
    pixels = np.full((size, size, 3), SKIN, dtype=np.uint8)
    pixels[: size // 2, : size // 2] = LESION
    paths = [folder / f"{index}.png" for index in range(count)]
    for path in paths:
        Image.fromarray(pixels).save(path)
    return paths


def follow(folder: Path, called_map: np.ndarray, size: int = 16, count: int = 12) -> pd.DataFrame:
    """Measure pictures that all have the same map and are rightly called melanoma."""
    predictions = explained(
        np.broadcast_to(called_map, (count, *called_map.shape)),
        labels=[0] * count,
        called=[0] * count,
        paths=corner_pictures(folder, size, count),
    )
    return measure_deletion(CornerModel(size), predictions, resamples=100)


def area(frame: pd.DataFrame, curve: str, order: str, column: str = "value") -> float:
    areas = frame[frame["figure"] == "auc"].set_index(["class", "curve", "order"])
    return areas.loc[("all", curve, order), column]


UPPER_LEFT = np.array([[1.0, 0.0], [0.0, 0.0]])


def test_areas_by_hand(tmp_path: Path) -> None:
    # 16 pixels in 16 steps: the 4 of the quarter go first, then nothing is left to lose.
    quarter = np.kron(UPPER_LEFT, np.ones((2, 2)))
    frame = follow(tmp_path, quarter, size=4, count=2)
    assert area(frame, "deletion", "model") == pytest.approx(2 / 16)
    curve = frame[(frame["figure"] == "probability") & (frame["class"] == "all")]
    curve = curve.set_index(["curve", "order"]).loc[("deletion", "model")]
    assert curve["share"].tolist() == SHARES.tolist()
    assert curve["value"].tolist() == pytest.approx([1, 0.75, 0.5, 0.25] + [0] * 13)


def test_the_map_of_the_region_beats_random_and_gaussian(tmp_path: Path) -> None:
    frame = follow(tmp_path, UPPER_LEFT)
    for baseline in ("random", "gaussian"):
        difference = f"model minus {baseline}"
        assert area(frame, "deletion", difference, "high") < -0.05
        assert area(frame, "insertion", difference, "low") > 0


def test_a_map_of_the_wrong_place_loses_to_random(tmp_path: Path) -> None:
    frame = follow(tmp_path, np.array([[0.0, 1.0], [1.0, 2.0]]))
    assert area(frame, "deletion", "model minus random", "low") > 0.05
    assert area(frame, "insertion", "model minus random", "high") < 0


def test_curves_start_and_end_alike_and_the_same_seed_repeats_them(tmp_path: Path) -> None:
    frame = follow(tmp_path, UPPER_LEFT, count=3)
    ends = frame[(frame["share"].isin([0, 1])) & (frame["class"] == "all")]
    assert (ends.groupby(["curve", "share"])["value"].nunique() == 1).all()
    pd.testing.assert_frame_equal(frame, follow(tmp_path, UPPER_LEFT, count=3))


def test_pixels_change_in_order_of_evidence() -> None:
    start, end = np.zeros((4, 8, 3), dtype=np.uint8), np.full((4, 8, 3), 9, dtype=np.uint8)
    evidence = np.arange(32.0).reshape(4, 8) - 20
    pictures = changing_pictures(start, end, evidence)
    changed = (pictures == 9).all(axis=3)
    assert changed.sum(axis=(1, 2)).tolist() == list(range(0, 33, 2))
    assert np.flatnonzero(changed[1]).tolist() == [30, 31]
    assert pictures.dtype == np.uint8


def test_area_under_a_straight_line_is_half() -> None:
    assert area_under(SHARES) == pytest.approx(0.5)
    assert area_under(np.ones((2, STEPS + 1))).tolist() == [1, 1]


def test_skin_is_the_colour_of_the_frame_and_blur_takes_the_structure() -> None:
    picture = np.full((40, 30, 3), (200, 150, 120), dtype=np.uint8)
    picture[8:32, 6:24] = (60, 30, 20)
    assert (skin_picture(picture) == (200, 150, 120)).all()
    blurred = blurred_picture(picture)
    assert blurred.shape == picture.shape
    assert np.ptp(blurred[..., 0].astype(int)) < np.ptp(picture[..., 0].astype(int))
    assert blurred.mean() == pytest.approx(picture.mean(), rel=0.1)


def many(labels: list[int], lesions: list[str]) -> Predictions:
    return explained(np.ones((len(labels), 2, 2)), labels, labels, lesions)


def test_pictures_are_drawn_in_turns_one_a_lesion() -> None:
    # 20 nevi lesions of two pictures each against 3 melanomas.
    labels = [1] * 40 + [0] * 3
    lesions = [f"n{index // 2}" for index in range(40)] + ["m0", "m1", "m2"]
    predictions = many(labels, lesions)
    rows = pick_pictures(predictions, 8, seed=0)
    assert len(set(predictions.lesions[rows])) == 8
    assert np.bincount(predictions.labels[rows]).tolist() == [3, 5]
    assert rows.tolist() == pick_pictures(predictions, 8, seed=0).tolist()
    assert rows.tolist() != pick_pictures(predictions, 8, seed=1).tolist()
    assert len(pick_pictures(predictions, 1000, seed=0)) == 23


def test_what_is_wrong_is_named() -> None:
    predictions = many([0, 1], ["a", "b"])
    with pytest.raises(DermaError, match="pictures: 0 is too few"):
        pick_pictures(predictions, 0, seed=0)
    bare = replace(predictions, activation_maps=None)
    with pytest.raises(DermaError, match="hold no activation maps"):
        measure_deletion(CornerModel(16), bare)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_plot_and_table_show_both_curves_also_with_an_absent_class(tmp_path: Path) -> None:
    frame = follow(tmp_path, UPPER_LEFT, count=3)
    figure = plot_deletion(frame)
    curves, below = figure.axes[0], figure.axes[2]
    assert len(curves.lines) == 3
    assert [tick.get_text() for tick in below.get_yticklabels()][-1] == "nv\n0 images"
    assert len(figure.legends[0].get_texts()) == 2
    save_png(figure, tmp_path / "deletion.png")
    table = deletion_table(frame)
    assert "3 pictures" in table.title
    assert [row[0] for row in table.rows[-2:]] == ["model minus gaussian", "model minus random"]
    assert table.rows[-1][1].startswith("-")
    assert table.rows[-1][2].startswith("+")
