import numpy as np
import pytest
from scipy.special import softmax

from doctor_derma.data.problems import Problem
from doctor_derma.evaluation.data_check import find_label_errors

CLASSES = ("bkl", "mel", "nv")


def sure(label: int, probability: float = 0.9) -> list[float]:
    row = [(1 - probability) / 2] * 3
    row[label] = probability
    return row


def test_a_label_that_networks_contradict_is_found_with_what_they_say() -> None:
    labels = np.repeat([0, 1, 2], 20)
    probabilities = np.array([sure(label) for label in labels])
    labels[3] = 2
    rows = np.arange(60) + 100
    [found] = find_label_errors(rows, labels, probabilities, CLASSES)
    assert (found.row, found.problem, found.suggested) == (103, Problem.LABEL, "relabel:bkl")
    assert found.score == pytest.approx(1 - 0.05)
    assert found.detail == "bkl 90%, nv 5.0%"


def test_flipped_labels_are_first() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 600)
    logits = 3 * np.eye(3)[true] + rng.normal(size=(600, 3))
    probabilities = softmax(3 * logits, axis=1)
    flipped = rng.choice(600, 18, replace=False)
    labels = true.copy()
    labels[flipped] = (labels[flipped] + 1 + rng.integers(0, 2, 18)) % 3
    found = find_label_errors(np.arange(600), labels, probabilities, CLASSES)
    first = sorted(found, key=lambda one: -one.score)[:36]
    caught = [one for one in first if one.row in set(flipped)]
    assert len(caught) >= 0.6 * len(flipped)
    right = [one for one in caught if one.suggested == f"relabel:{CLASSES[true[one.row]]}"]
    assert len(right) >= 0.8 * len(caught)


def test_a_class_that_is_called_less_readily_is_no_error() -> None:
    # Every mel is called nv by a little: their threshold is as low as they all are.
    labels = np.repeat([0, 1, 2], 30)
    rows = [[0.9, 0.05, 0.05]] * 30 + [[0.0, 0.45, 0.55]] * 30 + [[0.0, 0.02, 0.98]] * 30
    assert find_label_errors(np.arange(90), labels, np.array(rows), CLASSES) == []


@pytest.mark.filterwarnings("error")
def test_classes_without_an_image_are_borne() -> None:
    labels = np.repeat([1, 2], 20)
    probabilities = np.array([sure(label) for label in labels])
    assert find_label_errors(np.arange(40), labels, probabilities, CLASSES) == []
