"""Evidence inside a lesion, on maps and masks small enough to compute by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from audits.explained import dataset_in, explained
from doctor_derma.audits.localisation import (
    centred_gaussian,
    hit_inside,
    localisation_table,
    mass_inside,
    measure_localisation,
    plot_localisation,
)
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.plots.style import save_png
from doctor_derma.evaluation.predictions import Predictions

CORNER = np.zeros((4, 4), dtype=bool)
CORNER[:2, :2] = True
MIDDLE = np.zeros((4, 4), dtype=bool)
MIDDLE[1:3, 1:3] = True
FINITE = st.floats(-1e3, 1e3, width=32)


def write_masks(folder: Path, masks: dict[str, np.ndarray]) -> None:
    (folder / "masks").mkdir()
    for image, mask in masks.items():
        Image.fromarray(mask).save(folder / "masks" / f"{image}.png")


def measure(predictions: Predictions, folder: Path, resamples: int = 30) -> pd.DataFrame:
    return measure_localisation(predictions, dataset_in(folder), resamples)


def value(frame: pd.DataFrame, *key: str, column: str = "value") -> float:
    return frame.set_index(["class", "decision", "measure", "map"]).loc[key, column]


def test_mass_leaves_negative_evidence_out() -> None:
    evidence = np.array([[1.0, -5.0], [3.0, 0.0]])
    assert mass_inside(evidence, np.array([[True, True], [False, False]])) == 0.25


def test_a_shared_maximum_is_a_shared_hit() -> None:
    evidence = np.array([[2.0, 2.0], [0.0, 1.0]])
    assert hit_inside(evidence, np.array([[True, False], [False, False]])) == 0.5
    assert hit_inside(evidence, np.array([[True, True], [False, False]])) == 1
    assert hit_inside(evidence, np.array([[False, False], [True, True]])) == 0


@pytest.mark.parametrize("score", [mass_inside, hit_inside])
def test_a_map_without_positive_evidence_counts_as_uniform(score) -> None:
    evidence = -np.arange(1.0, 17).reshape(4, 4)
    assert score(evidence, CORNER) == 4 / 16


@given(arrays(np.float32, (4, 5), elements=FINITE), arrays(bool, (4, 5)))
def test_inside_and_outside_make_the_whole(evidence: np.ndarray, mask: np.ndarray) -> None:
    for score in (mass_inside, hit_inside):
        inside, outside = score(evidence, mask), score(evidence, ~mask)
        assert 0 <= inside <= 1
        assert inside + outside == pytest.approx(1)
        assert score(4 * evidence, mask) == pytest.approx(inside)


def test_maps_are_stretched_bilinearly_and_then_clipped(tmp_path: Path) -> None:
    # Along a side of 4, a step from 1 to 0 becomes 1, 3/4, 1/4, 0.
    corner = np.array([[1.0, 0.0], [0.0, 0.0]])
    # The same step from 1 to -1: in the corner 1, 1/2, 1/2 and 1/8 are left of it.
    signed = 2 * corner - 1
    top = np.zeros((4, 4), dtype=bool)
    top[0] = True
    write_masks(tmp_path, {"image0": CORNER, "image1": top})
    predictions = explained(np.stack([corner, signed]), labels=[0, 1], called=[0, 0])
    frame = measure(predictions, tmp_path)
    assert value(frame, "mel", "all", "mass", "model") == pytest.approx(1.75**2 / 4)
    assert value(frame, "nv", "all", "mass", "model") == pytest.approx(1.5 / 2.125)
    assert value(frame, "all", "all", "hit", "model") == 1


def test_baselines_by_hand(tmp_path: Path) -> None:
    write_masks(tmp_path, {"image0": MIDDLE})
    frame = measure(explained(np.ones((1, 2, 2)), labels=[0], called=[1]), tmp_path)
    # Pixel centres lie half and one and a half standard deviations from the middle.
    near, far = np.exp(-0.125), np.exp(-1.125)
    gaussian = (near / (near + far)) ** 2
    assert value(frame, "all", "all", "mass", "gaussian") == pytest.approx(gaussian)
    assert value(frame, "all", "all", "hit", "gaussian") == 1
    for name in ("mass", "hit"):
        assert value(frame, "all", "all", name, "uniform") == 0.25
        assert value(frame, "all", "all", name, "model") == pytest.approx(0.25)
    difference = value(frame, "all", "all", "mass", "model minus gaussian")
    assert difference == pytest.approx(0.25 - gaussian)


def test_a_coarse_mask_is_the_best_that_a_coarse_map_can_say(tmp_path: Path) -> None:
    write_masks(tmp_path, {"image0": CORNER})
    fine = measure(explained(np.ones((1, 4, 4)), labels=[0], called=[0]), tmp_path)
    coarse = measure(explained(np.ones((1, 2, 2)), labels=[0], called=[0]), tmp_path)
    assert value(fine, "all", "all", "mass", "mask") == 1
    assert 0.25 < value(coarse, "all", "all", "mass", "mask") < 1


def test_groups_are_the_true_class_and_the_decision(tmp_path: Path) -> None:
    there, elsewhere = np.zeros((2, 4, 4))
    there[0, 0] = elsewhere[3, 3] = 1
    write_masks(tmp_path, {f"image{index}": CORNER for index in range(4)})
    predictions = explained(
        np.stack([there, there, elsewhere, elsewhere, there]),
        labels=[0, 0, 0, 1, 1],
        called=[0, 0, 1, 0, 1],
        lesions=["a", "a", "b", "c", "d"],
    )
    frame = measure(predictions, tmp_path, resamples=100)
    assert value(frame, "mel", "all", "hit", "model") == pytest.approx(2 / 3)
    assert value(frame, "mel", "right", "hit", "model") == 1
    assert value(frame, "mel", "wrong", "hit", "model") == 0
    assert value(frame, "all", "wrong", "mass", "model") == 0
    # The last picture has no mask, and was the only one of its group.
    assert value(frame, "all", "all", "hit", "model", column="images") == 4
    assert value(frame, "mel", "all", "hit", "model", column="lesions") == 2
    assert value(frame, "nv", "right", "hit", "model", column="images") == 0
    assert np.isnan(value(frame, "nv", "right", "hit", "model"))


def test_the_difference_is_paired(tmp_path: Path) -> None:
    masks = {f"image{index}": CORNER if index % 2 else MIDDLE for index in range(10)}
    write_masks(tmp_path, masks)
    same = np.broadcast_to(centred_gaussian(4, 4), (10, 4, 4))
    frame = measure(explained(same, labels=[0] * 10, called=[0] * 10), tmp_path)
    width = value(frame, "all", "all", "mass", "model", column="high") - value(
        frame, "all", "all", "mass", "model", column="low"
    )
    assert width > 0.02
    for column in ("value", "low", "high"):
        paired = value(frame, "all", "all", "mass", "model minus gaussian", column=column)
        assert paired == pytest.approx(0, abs=1e-6)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    predictions = explained(np.ones((1, 2, 2)), labels=[0], called=[0])
    with pytest.raises(DermaError, match="no lesion mask of the 1 pictures"):
        measure(predictions, tmp_path)
    with pytest.raises(DermaError, match="tiny: the predictions hold no activation maps"):
        measure(replace(predictions, activation_maps=None), tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_plot_and_table_show_every_class_also_an_absent_one(tmp_path: Path) -> None:
    write_masks(tmp_path, {"image0": CORNER, "image1": MIDDLE})
    frame = measure(explained(np.eye(4)[None].repeat(2, 0), [0, 0], [0, 1]), tmp_path)
    figure = plot_localisation(frame)
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert ticks[0] == "all\n2 images"
    assert ticks[-2:] == ["mel\n2 images", "nv\n0 images"]
    assert any("Gaussian" in text.get_text() for text in figure.legends[0].get_texts())
    save_png(figure, tmp_path / "localisation.png")
    table = localisation_table(frame)
    titles = [row[0] for row in table.rows]
    assert titles == ["all", "called rightly", "called wrongly", "mel", "nv"]
    assert table.rows[-1][2:] == ("undefined",) * 4
