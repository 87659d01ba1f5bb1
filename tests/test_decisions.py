"""The rules that turn probabilities into a label, and what mistakes cost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from doctor_derma.decisions import (
    RULES,
    Rule,
    Rulebook,
    cost_matrix,
    melanoma_threshold,
    read_costs,
)
from doctor_derma.errors import DermaError
from doctor_derma.evaluation.metrics import weighted_sensitivity_at_specificity

CLASSES = ("bkl", "mel", "nv", "vasc")
SHARES = np.array([0.15, 0.1, 0.7, 0.05])
COSTS = {"mel": {"nv": 20.0}, "bkl": {"mel": 0.2}}
LOGITS = arrays(np.float64, (5, 4), elements=st.floats(-8, 8))


def book(prior_weight: float = 1.0, temperature: float = 1.0, **changes: object) -> Rulebook:
    plain = Rulebook(CLASSES, tuple(SHARES), prior_weight, temperature)
    return replace(plain, **changes)  # type: ignore[arg-type]


def clear(scores: np.ndarray) -> np.ndarray:
    """Whether the greatest of each row leads by more than rounding, bool [n]."""
    ranked = np.sort(scores, axis=1)
    return ranked[:, -1] - ranked[:, -2] > 1e-6


@given(LOGITS, st.floats(0, 1), st.floats(0.3, 20))
def test_balanced_calls_the_greatest_balanced_logit(
    logits: np.ndarray, prior_weight: float, temperature: float
) -> None:
    sure = clear(logits / temperature)
    probabilities = softmax((logits + prior_weight * np.log(SHARES)) / temperature, axis=1)
    found = book(prior_weight, temperature).decide(probabilities, "balanced")
    assert np.array_equal(found[sure], logits.argmax(axis=1)[sure])


def test_a_class_without_training_images_is_never_called() -> None:
    shares = replace(book(), class_shares=(0.5, 0.5, 0.0, 0.0))
    probabilities = np.array([[0.3, 0.7, 0.0, 0.0], [0.2, 0.2, 0.3, 0.3]])
    assert shares.decide(probabilities, "balanced").tolist() == [1, 0]


def test_balanced_needs_the_temperature() -> None:
    logits = np.array([[0.0, 0.0, 0.3, 0.0]])
    probabilities = softmax((logits + np.log(SHARES)) / 2.5, axis=1)
    assert book(1, 2.5).decide(probabilities, "balanced").tolist() == [2]
    assert book(1, 1.0).decide(probabilities, "balanced").tolist() == [3]


@given(LOGITS)
def test_costs_of_one_each_call_the_most_probable(logits: np.ndarray) -> None:
    probabilities = softmax(logits, axis=1)
    sure = clear(probabilities)
    found = book(costs={}).decide(probabilities, "costs")
    plain = book().decide(probabilities, "most-probable")
    assert np.array_equal(plain, probabilities.argmax(axis=1))
    assert np.array_equal(found[sure], plain[sure])


@given(LOGITS, st.floats(0, 1), st.floats(0, 1))
def test_a_lower_threshold_calls_melanoma_in_all_the_same_pictures_and_more(
    logits: np.ndarray, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    probabilities = softmax(logits, axis=1)
    called = {t: book(threshold=t).decide(probabilities, "melanoma-first") for t in (low, high)}
    assert ((called[high] != 1) | (called[low] == 1)).all()
    assert np.array_equal(called[low] == 1, probabilities[:, 1] > low)
    # All else is the balanced answer among the other classes.
    scores = np.log(probabilities) - np.log(SHARES)
    scores[:, 1] = -np.inf
    others = (called[high] != 1) & clear(scores)
    assert np.array_equal(called[high][others], scores.argmax(axis=1)[others])


def test_rules_by_hand() -> None:
    probabilities = np.array([[0.2, 0.07, 0.7, 0.03]])
    rules = book(threshold=0.06, costs=COSTS, positive=("mel", "vasc"), positive_threshold=0.09)
    assert rules.rules == RULES
    found = {rule: CLASSES[rules.decide(probabilities, rule)[0]] for rule in RULES}
    # Divided by the shares: 1.33, 0.7, 1, 0.6. Expected costs: 0.8, 0.77, 1.63, 0.97.
    assert found == {
        "balanced": "bkl",
        "most-probable": "nv",
        "melanoma-first": "mel",
        "costs": "mel",
        # 0.07 and 0.03 are over 0.09 together; 0.7 of melanoma is more than 0.6.
        "operating-point": "mel",
    }
    stricter = replace(rules, positive_threshold=0.11)
    assert stricter.decide(probabilities, "operating-point").tolist() == [0]
    stricter = replace(rules, threshold=0.07)
    assert stricter.decide(probabilities, "melanoma-first").tolist() == [0]
    cheaper = replace(rules, costs={"mel": {"nv": 2}})
    assert cheaper.decide(probabilities, "costs").tolist() == [2]


def test_the_default_rule_decides_where_none_is_named() -> None:
    probabilities = np.array([[0.2, 0.07, 0.7, 0.03]])
    assert book().decide(probabilities).tolist() == [2]
    assert book(default="balanced").decide(probabilities).tolist() == [0]


@pytest.mark.parametrize(
    ("classes", "rule", "sentence"),
    [
        (CLASSES, "melanoma-first", "no threshold for melanoma; use balanced, most-probable"),
        (("a", "b", "c", "d"), "melanoma-first", "no class 'mel'; use balanced, most-probable"),
        (CLASSES, "costs", "no costs; use"),
        (CLASSES, "coin", "'coin': unknown; use"),
    ],
)
def test_a_rule_that_a_model_lacks_is_one_sentence(
    classes: tuple[str, ...], rule: Rule, sentence: str
) -> None:
    rules = book(classes=classes)
    assert rules.rules == ("balanced", "most-probable")
    with pytest.raises(DermaError, match=sentence):
        rules.decide(np.full((1, 4), 0.25), rule)
    with pytest.raises(DermaError, match=sentence):
        replace(rules, default=rule)


def test_costs_are_1_where_none_is_given() -> None:
    expected = [[0, 0.2, 1, 1], [1, 0, 20, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
    assert cost_matrix(COSTS, CLASSES).tolist() == expected
    assert cost_matrix({"nv": {"nv": 0}}, CLASSES)[2, 2] == 0


@pytest.mark.parametrize(
    ("costs", "sentence"),
    [
        ({"melanoma": {"nv": 2}}, "class 'melanoma' is unknown; this model has bkl, mel, nv, vasc"),
        ({"mel": {"nevus": 2}}, "class 'nevus' is unknown"),
        ({"mel": {"nv": -1}}, "mel called nv: -1 is no cost"),
        ({"mel": {"nv": float("nan")}}, "nan is no cost"),
        ({"mel": {"mel": 3}}, "mel called mel is right and costs 0"),
    ],
)
def test_wrong_costs_are_one_sentence(costs: dict[str, dict[str, float]], sentence: str) -> None:
    with pytest.raises(DermaError, match=sentence):
        book(costs=costs)


def test_a_file_of_costs(tmp_path: Path) -> None:
    path = tmp_path / "costs.yaml"
    path.write_text("costs:\n  mel: {nv: 20, bkl: 10.5}\n  bcc:\n    nv: 5\n")
    assert read_costs(path) == {"mel": {"nv": 20.0, "bkl": 10.5}, "bcc": {"nv": 5.0}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "No such file"),
        ("costs: [", "can't be read"),
        ("mel: {nv: 20}", "give costs and nothing else"),
        ("costs: {}\nrule: costs", "give costs and nothing else"),
        ("costs: {mel: 20}", "costs.mel: Input should be a valid dictionary"),
        ("costs: {mel: {nv: much}}", "costs.mel.nv: Input should be a valid number"),
    ],
)
def test_a_wrong_file_of_costs_is_named(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "costs.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DermaError, match=rf"costs\.yaml: .*{sentence}"):
        read_costs(path)


@given(
    arrays(np.float64, 30, elements=st.floats(0, 1)),
    arrays(np.bool_, 30, elements=st.booleans()),
    st.sampled_from([0.5, 0.9, 1.0]),
)
def test_the_threshold_spares_enough_and_finds_all_that_can_be_found(
    scores: np.ndarray, is_melanoma: np.ndarray, target: float
) -> None:
    assume(0 < is_melanoma.sum() < 30)
    over = scores > melanoma_threshold(scores, is_melanoma, target)
    assert (~over)[~is_melanoma].mean() >= target - 1e-12
    [best] = weighted_sensitivity_at_specificity(is_melanoma, scores, np.ones((1, 30)), target)
    assert over[is_melanoma].mean() == pytest.approx(best)
