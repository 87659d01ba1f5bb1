"""Records of patients as numbers, and heads that differ in nothing but the record."""

import numpy as np
import pandas as pd
import pytest
import torch

from partly_frozen import CLASS_CAP, shown_views
from patient_data import HEADS, METRICS, encode_records, head_metrics, known_sites, train_head

RECORDS = pd.DataFrame(
    {
        "age": [50.0, 90.0, np.nan, 0.0],
        "sex": ["female", "male", "unknown", np.nan],
        "site": ["back", "face", "unknown", np.nan],
    }
)


def test_records_as_numbers() -> None:
    # Age, unknown | female, male, unknown | back, face, unknown
    assert encode_records(RECORDS, ["back", "face"]).tolist() == [
        [0, 0, 1, 0, 0, 1, 0, 0],
        [2, 0, 0, 1, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 0, 0, 1],
        [-2.5, 0, 0, 0, 1, 0, 0, 1],
    ]


def test_a_site_that_training_has_not_seen_is_unknown() -> None:
    assert known_sites(RECORDS) == ["back", "face"]
    assert encode_records(RECORDS.iloc[[1]], ["back"])[0, -2:].tolist() == [0, 1]


def heads(seed: int = 0, withheld: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """Train a head on eight features of no meaning, and return all of its weights."""
    random = torch.Generator().manual_seed(1)
    features = torch.randn(256, 8, generator=random)
    records = torch.randn(256, 3, generator=random) + shift
    targets = torch.randint(2, (256,), generator=random)
    counts = torch.tensor([128.0, 128.0])
    head = train_head(features, records, torch.zeros(3), withheld, targets, counts, seed)
    return torch.cat([weight.detach().flatten() for weight in head.parameters()])


def test_a_head_of_pictures_alone_has_never_seen_a_record() -> None:
    assert torch.equal(heads(), heads(shift=5.0))
    assert not torch.equal(heads(withheld=0.25), heads(withheld=0.25, shift=5.0))
    assert not torch.equal(heads(), heads(seed=1))


def test_each_draw_shows_no_more_of_a_class_than_the_cap() -> None:
    labels = np.repeat([0, 1], [3 * CLASS_CAP, 5])
    shown = shown_views(labels, np.arange(1, len(labels)), draws=1)
    for draw in (0, 1):
        places = shown[shown[:, 0] == draw, 1]
        assert len(np.unique(places)) == len(places) == CLASS_CAP + 5
        assert 0 not in places
    assert len(np.unique(shown[:, 1])) > CLASS_CAP + 5


def test_what_heads_add_is_paired() -> None:
    labels = np.array([0, 0, 1, 1])
    right, wrong = np.eye(2)[labels], np.eye(2)[1 - labels]
    half = np.eye(2)[[0, 1, 1, 1]]
    # Two seeds of each head: one right and one wrong, both right, half right, both wrong.
    said = np.array([[right, wrong], [right, right], [half, half], [wrong, wrong]])
    found = head_metrics(labels, said, ("mel", "nv"), np.array([[1, 1, 1, 1], [1, 0, 1, 1]]))
    [balanced] = [metric for metric in METRICS if "balanced" in metric]
    assert found[f"{HEADS[0]}/{balanced}"] == pytest.approx([0.5, 0.5])
    assert found[f"{HEADS[1]} - {HEADS[0]}/{balanced}"] == pytest.approx([0.5, 0.5])
    assert found[f"{HEADS[2]} - {HEADS[0]}/{balanced}"] == pytest.approx([0.25, 0.5])
    assert found[f"{HEADS[3]} - {HEADS[0]}/{balanced}"] == pytest.approx([-0.5, -0.5])
