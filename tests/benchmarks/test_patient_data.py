"""What patient data add is paired, and fitted to other pictures than those that are judged."""

import numpy as np
import pandas as pd
import pytest

from partly_frozen import CLASS_CAP, shown_views
from patient_data import KINDS, METRICS, ask, metrics_of


def test_each_draw_shows_no_more_of_a_class_than_the_cap() -> None:
    labels = np.repeat([0, 1], [3 * CLASS_CAP, 5])
    shown = shown_views(labels, np.arange(1, len(labels)), draws=1)
    for draw in (0, 1):
        places = shown[shown[:, 0] == draw, 1]
        assert len(np.unique(places)) == len(places) == CLASS_CAP + 5
        assert 0 not in places
    assert len(np.unique(shown[:, 1])) > CLASS_CAP + 5


def test_the_term_is_fitted_to_other_pictures() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(2, size=400)
    logits = random.normal(size=(400, 2)) + np.eye(2)[labels]
    table = pd.DataFrame({"age": 40 + 20 * labels, "sex": "female", "site": "back"})
    learnt, judged = np.arange(300), np.arange(300, 400)
    said = ask(logits, table, labels, learnt, judged)
    assert said.shape == (len(KINDS), 100, 2)
    right = (said.argmax(2) == labels[judged]).mean(1)
    picture, both, record = right
    assert picture < 0.95
    # The age tells the class.
    assert both == record == 1.0
    others = np.where(np.arange(400) < 300, labels, 1 - labels)
    np.testing.assert_array_equal(ask(logits, table, others, learnt, judged), said)


def test_what_they_add_is_paired() -> None:
    labels = np.array([0, 0, 1, 1])
    half, right, wrong = np.eye(2)[[0, 1, 1, 1]], np.eye(2)[labels], np.eye(2)[1 - labels]
    said = np.array([half, right, wrong])
    found = metrics_of(labels, said, ("mel", "nv"), np.array([[1, 1, 1, 1], [1, 0, 1, 1]]))
    [balanced] = [metric for metric in METRICS if "balanced" in metric]
    assert found[f"{KINDS[0]}/{balanced}"] == pytest.approx([0.75, 1.0])
    assert found[f"{KINDS[1]} - {KINDS[0]}/{balanced}"] == pytest.approx([0.25, 0.0])
    assert found[f"{KINDS[2]} - {KINDS[0]}/{balanced}"] == pytest.approx([-0.75, -1.0])
