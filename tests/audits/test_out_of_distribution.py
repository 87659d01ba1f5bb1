"""Pictures that are not dermatoscopic, and a scorer that knows how green they are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from doctor_derma.audits.ood_pictures import (
    CHANGED,
    DRAWN,
    SIZE,
    channels_swapped,
    draw_pictures,
    inverted,
)
from doctor_derma.audits.out_of_distribution import (
    ALL,
    OWN,
    measure_ood,
    ood_table,
    plot_ood,
    plot_ood_pictures,
    score_pictures,
)
from doctor_derma.evaluation.predictions import Predictions


class Green:
    """Calls green pictures unfamiliar; has never to be asked of the data set's own."""

    height = width = 16

    def unfamiliarity(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.shape[1:] == (16, 16, 3)
        return pixels[..., 1].mean(axis=(1, 2)) / 100


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    """Ten magenta pictures of five lesions."""
    paths = [tmp_path / f"{index}.png" for index in range(10)]
    for path in paths:
        Image.new("RGB", (20, 15), (200, 10, 180)).save(path)
    lesions = [f"lesion{index // 2}" for index in range(10)]
    table = pd.DataFrame({"image": range(10), "lesion": lesions, "class": ["mel", "nv"] * 5})
    half, files = np.full((10, 2), 0.5), [str(path) for path in paths]
    return Predictions.of_table(table, "model", ("mel", "nv"), half, files, ood=np.full(10, 0.1))


@pytest.mark.parametrize("kind", DRAWN)
def test_drawn_pictures_repeat_with_their_seed_and_differ(kind: str) -> None:
    first, second = draw_pictures(kind, 3, 1), draw_pictures(kind, 3, 1)
    other = draw_pictures(kind, 3, 2)
    assert all(picture.size == SIZE and picture.mode == "RGB" for picture in first)
    assert [p.tobytes() for p in first] == [p.tobytes() for p in second]
    assert len({p.tobytes() for p in first + other}) == 6


def test_changed_pictures_by_hand() -> None:
    picture = Image.new("RGB", (2, 2), (10, 20, 200))
    assert inverted(picture).getpixel((0, 0)) == (245, 235, 55)
    assert channels_swapped(picture).getpixel((1, 1)) == (200, 20, 10)


def test_every_picture_is_scored_once(predictions: Predictions) -> None:
    scores = score_pictures(Green(), predictions, each=4, seed=0)
    counts = scores["kind"].value_counts().to_dict()
    assert counts == {OWN: 10} | dict.fromkeys([*DRAWN, *CHANGED], 4)
    own = scores.loc[scores["kind"] == OWN]
    np.testing.assert_allclose(own["unfamiliarity"], 0.1)
    negatives = scores.loc[scores["kind"] == "inverted", "unfamiliarity"]
    np.testing.assert_allclose(negatives, 2.45)
    # Only red and blue are exchanged, so these are as familiar as before.
    np.testing.assert_allclose(scores.loc[scores["kind"] == "channels swapped"].iloc[:, 2], 0.1)


def test_figures_by_hand() -> None:
    scores = pd.DataFrame(
        {
            "kind": [OWN] * 4 + ["noise"] * 2 + ["text"] * 2,
            "lesion": list("abcdefgh"),
            "unfamiliarity": [0.2, 0.4, 0.6, 1.2, 2.0, 3.0, 0.5, 1.5],
        }
    )
    frame = measure_ood(scores, resamples=200).set_index("kind")
    assert frame["flagged"].to_dict() == {OWN: 0.25, ALL: 0.75, "noise": 1, "text": 0.5}
    assert frame.loc["noise", "auroc"] == 1
    assert frame.loc["text", "auroc"] == (2 + 4) / 8
    assert frame.loc[ALL, "auroc"] == (8 + 6) / 16
    assert np.isnan(frame.loc[OWN, "auroc"])
    assert frame.loc["text", "low"] <= 0.75 <= frame.loc["text", "high"]


def test_table_and_plots(predictions: Predictions) -> None:
    scores = score_pictures(Green(), predictions, each=3, seed=0)
    frame = measure_ood(scores, resamples=20)
    assert [row[0] for row in ood_table(frame).rows] == [OWN, ALL, *DRAWN, *CHANGED]
    [axes] = plot_ood(scores, frame).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [label.split("\n")[0] for label in labels] == [OWN, *DRAWN, *CHANGED]
    assert {label.split("\n")[1] for label in labels[1:]} == {"3 pictures"}
    # Green tells inverted magenta from magenta without a mistake, and nothing from swapped.
    beside = [text.get_text() for text in axes.texts]
    assert beside[0] == "0% over 1"
    assert "100% over 1\nAUROC 1.000 (1.000\N{EN DASH}1.000)" in beside
    assert beside[-1].startswith("0% over 1\nAUROC 0.500")
    assert len(plot_ood_pictures(columns=2).axes) == 2 * len(DRAWN)
