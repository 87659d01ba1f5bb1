"""The term of patient data is fitted where it helps, and judged on what it was not fitted to."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from doctor_derma.decisions import Rulebook
from doctor_derma.export.patient import (
    LEAST_SITE,
    fit_patient_term,
    fit_weights,
    known_sites,
    patients_of,
)
from doctor_derma.inference.conformal import conformal_threshold
from doctor_derma.inference.patient import Patient, add_patients, encode_patients

CLASSES = ("bkl", "mel", "nv")
RULEBOOK = Rulebook(CLASSES, (0.3, 0.2, 0.5), 1.0, 1.0)


def drawn(helps: bool, count: int = 3000) -> tuple[np.ndarray, np.ndarray, list[Patient]]:
    """Draw pictures' probabilities, classes, and patients who tell of these or of nothing."""
    random = np.random.default_rng(0)
    labels = random.choice(3, count, p=[0.3, 0.2, 0.5])
    seen = random.normal(size=(count, 3)) + np.eye(3)[labels]
    picture = softmax(seen + np.log([0.3, 0.2, 0.5]), axis=1)  # As Bayes has it.
    told = labels if helps else random.permutation(labels)
    ages = np.clip(random.normal(40, 12, count) + 20 * (told == 0), 0, 90)
    sites = np.where(random.random(count) < 0.3 + 0.5 * (told == 1), "back", "face")
    return picture, labels, [Patient(*row) for row in zip(ages, [None] * count, sites, strict=True)]


def test_what_tells_of_the_class_is_weighed_and_lowers_the_loss() -> None:
    picture, labels, patients = drawn(helps=True)
    lesions = np.arange(3000).astype(str)
    term = fit_patient_term(picture, labels, lesions, patients, RULEBOOK)
    assert term is not None
    assert term.sites == ("back", "face")
    before, after = term.metrics["picture"], term.metrics["both"]
    assert after["log_loss"] < before["log_loss"] - 0.05
    assert after["balanced_accuracy"] > before["balanced_accuracy"] + 0.02
    weights = np.array(term.weights)
    assert weights[0, 0] > weights[0, 1:].max()
    assert weights[4, 1] - weights[5, 1] > 1
    assert not weights[2:4].any()
    # Drawn again, it holds the promise of its sets.
    together = add_patients(picture, patients, term)
    threshold = conformal_threshold(together, labels)
    assert term.conformal.threshold == pytest.approx(threshold, abs=0.03)
    assert term.conformal.thresholds is None


def test_what_tells_nothing_is_left_out() -> None:
    picture, labels, patients = drawn(helps=False)
    lesions = np.arange(3000).astype(str)
    assert fit_patient_term(picture, labels, lesions, patients, RULEBOOK) is None


def test_pictures_of_one_lesion_are_judged_together() -> None:
    """Where the age is the lesion's name in disguise, it helps only who has seen the lesion."""
    random = np.random.default_rng(0)
    lesions = np.repeat(np.arange(30), 20)
    labels = random.permutation(np.repeat([0, 1, 2], 10))[lesions]
    ages = random.permutation(30)[lesions] * 4.0
    patients = [Patient(age=age) for age in ages]
    picture = np.full((600, 3), 1 / 3)
    assert fit_patient_term(picture, labels, lesions.astype(str), patients, RULEBOOK) is None


def test_little_is_nothing() -> None:
    picture, labels, patients = drawn(helps=True, count=3000)
    few = [patient if row < 150 else Patient() for row, patient in enumerate(patients)]
    lesions = np.arange(3000).astype(str)
    assert fit_patient_term(picture, labels, lesions, few, RULEBOOK) is None
    assert fit_patient_term(picture, labels, np.full(3000, "a"), patients, RULEBOOK) is None


def test_each_class_may_have_a_threshold_of_its_own() -> None:
    picture, labels, patients = drawn(helps=True)
    lesions = np.arange(3000).astype(str)
    term = fit_patient_term(picture, labels, lesions, patients, RULEBOOK, "class-conditional")
    assert term is not None
    assert term.conformal.thresholds is not None
    assert len(term.conformal.thresholds) == 3


def test_the_weights_are_where_the_loss_is_least() -> None:
    picture, labels, patients = drawn(helps=True, count=400)
    columns = encode_patients(patients, ("back", "face"))
    weights = fit_weights(picture, columns, labels)

    def loss(of: np.ndarray) -> float:
        found = softmax(np.log(picture) + columns @ of, axis=1)
        return float(1.5 * (of**2).sum() - np.log(found[np.arange(400), labels]).sum())

    random = np.random.default_rng(1)
    moved = [weights + 0.02 * random.normal(size=weights.shape) for _ in range(20)]
    assert all(loss(weights) < loss(other) for other in moved)


def test_a_manifest_is_read_as_it_is() -> None:
    table = pd.DataFrame(
        {
            "age": ["35", "", "unknown", "130"],
            "sex": ["female", "unknown", "male", ""],
            "site": ["back", "unknown", "", "face"],
        }
    )
    assert patients_of(table) == [
        Patient(35.0, "female", "back"),
        Patient(),
        Patient(sex="male"),
        Patient(site="face"),
    ]
    assert patients_of(pd.DataFrame({"image": ["a"]})) == [Patient()]


def test_rare_sites_are_not_known() -> None:
    patients = [Patient(site="face")] * LEAST_SITE + [Patient(site="acral")] * (LEAST_SITE - 1)
    assert known_sites([*patients, Patient()]) == ("face",)
