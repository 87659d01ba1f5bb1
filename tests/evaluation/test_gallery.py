"""Which pictures a gallery shows, and how a map lies on one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.gallery import (
    confident_right,
    confident_wrong,
    disagreements,
    make_cards,
    overlay_map,
)
from doctor_derma.evaluation.predictions import Predictions
from evaluation.fake_predictions import fake_predictions, write_pictures

GREY = np.full((60, 80, 3), 128, dtype=np.uint8)


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    paths = write_pictures(tmp_path, 120)
    return replace(fake_predictions(120), paths=np.array([str(path) for path in paths]))


def test_right_ones_are_right_confident_and_of_each_class(predictions: Predictions) -> None:
    rows = confident_right(predictions, per_class=2)
    assert predictions.correct[rows].all()
    assert len(set(predictions.lesions[rows])) == len(rows)
    nevi = [row for row in rows if predictions.labels[row] == 5]
    right_nevi = predictions.correct & (predictions.labels == 5)
    assert predictions.probabilities[nevi[0], 5] == predictions.probabilities[right_nevi, 5].max()
    assert np.bincount(predictions.labels[rows]).max() == 2
    assert confident_right(predictions) == rows


def test_wrong_ones_are_wrong_and_in_order(predictions: Predictions) -> None:
    rows = confident_wrong(predictions, count=5)
    assert len(rows) == 5
    assert not predictions.correct[rows].any()
    assert len(set(predictions.lesions[rows])) == 5
    assert (np.diff(predictions.probabilities[rows].max(axis=1)) <= 0).all()
    # A report has room for so many.
    assert len(confident_wrong(predictions)) == 12


def test_disagreements_differ(predictions: Predictions) -> None:
    other = replace(fake_predictions(120, model_seed=5), paths=predictions.paths, name="other")
    rows = disagreements((predictions, other), count=4)
    assert len(rows) == 4
    assert (predictions.predicted[rows] != other.predicted[rows]).all()
    card = make_cards((predictions, other), rows[:1])[0]
    assert [view.model for view in card.views] == ["eca_resnet18", "other"]
    assert card.views[0].label != card.views[1].label


def test_images_without_a_picture_are_left_out(predictions: Predictions) -> None:
    lost = confident_wrong(predictions, count=1)[0]
    Path(predictions.paths[lost]).unlink()
    assert lost not in confident_wrong(predictions)
    nowhere = replace(predictions, paths=np.full(120, ""))
    assert confident_right(nowhere) == confident_wrong(nowhere) == []


def test_card_shows_the_decision(predictions: Predictions) -> None:
    row = confident_wrong(predictions, count=1)[0]
    card = make_cards((predictions,), [row])[0]
    (view,) = card.views
    assert card.true_class == predictions.classes[predictions.labels[row]]
    assert view.label == predictions.classes[predictions.predicted[row]]
    assert view.probability == predictions.probabilities[row].max()
    assert not view.right
    assert card.picture.shape == (180, 240, 3)
    assert view.overlay is not None
    assert view.overlay.shape == card.picture.shape


def test_without_maps_there_is_no_overlay(predictions: Predictions) -> None:
    bare = replace(predictions, activation_maps=None)
    assert make_cards((bare,), [0])[0].views[0].overlay is None


def test_damaged_picture_is_named(predictions: Predictions) -> None:
    path = Path(predictions.paths[0])
    path.write_bytes(b"not a picture")
    with pytest.raises(DermaError, match=path.name):
        make_cards((predictions,), [0])


def test_overlay_colours_the_place_of_the_evidence() -> None:
    evidence = np.zeros((4, 4), dtype=np.float32)
    evidence[0, 3] = 7.0
    change = np.abs(overlay_map(GREY, evidence).astype(int) - 128).sum(axis=2)
    assert change[:10, 70:].min() > 50
    assert change[30:, :40].max() == 0


def test_overlay_does_not_depend_on_the_scale_of_the_evidence() -> None:
    evidence = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert np.array_equal(overlay_map(GREY, evidence), overlay_map(GREY, evidence * 50 - 3))


def test_flat_evidence_leaves_the_picture() -> None:
    assert np.array_equal(overlay_map(GREY, np.full((4, 4), 2.0)), GREY)
