"""Probabilities out of logits, and everything else that is fitted to a network's outputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from doctor_derma.errors import DermaError
from doctor_derma.evaluation.metrics import RULE_METRICS, classification_metrics
from doctor_derma.export.calibration import Calibration, Fitted, calibrate, fit_outputs
from doctor_derma.inference.conformal import class_thresholds, conformal_threshold

CLASSES = ("bkl", "mel", "nv")
COUNTS = np.array([150, 150, 700])
LOG_SHARES = np.log(COUNTS / 1000)


def draw(seed: int, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Draw evidence for and against three classes of these shares, and the classes."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, size=count, p=COUNTS / 1000)
    evidence = generator.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels]
    return evidence, labels


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**16),
    prior_weight=st.floats(0, 1),
    balanced=st.booleans(),
    factor=st.floats(0.5, 2),
)
def test_no_other_temperature_is_better(
    seed: int, prior_weight: float, balanced: bool, factor: float
) -> None:
    evidence, labels = draw(seed)
    logits = evidence if balanced else evidence + LOG_SHARES
    found = calibrate(logits, labels, COUNTS, balanced=balanced, prior_weight=prior_weight)
    other = Calibration(found.temperature * factor, found.offsets / factor)
    losses = [
        classification_metrics(labels, of.probabilities(logits), "abc")["log_loss"]
        for of in (found, other)
    ]
    assert losses[0] <= losses[1] + 1e-6
    called = [of.probabilities(logits).argmax(axis=1) for of in (found, other)]
    assert called[0].tolist() == called[1].tolist()


@pytest.mark.parametrize("prior_weight", [0.0, 0.4, 1.0])
def test_shares_count_as_much_as_they_should_whatever_the_loss(prior_weight: float) -> None:
    evidence, labels = draw(0)
    balanced = calibrate(evidence, labels, COUNTS, balanced=True, prior_weight=prior_weight)
    plain = calibrate(
        evidence + LOG_SHARES, labels, COUNTS, balanced=False, prior_weight=prior_weight
    )
    expected = softmax((evidence + prior_weight * LOG_SHARES) / balanced.temperature, axis=1)
    np.testing.assert_allclose(balanced.probabilities(evidence), expected)
    np.testing.assert_allclose(plain.probabilities(evidence + LOG_SHARES), expected, rtol=1e-4)


def outputs(seed: int = 0, count: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw balanced logits of three classes in these shares; a lesion has two images."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(generator.choice(3, size=count // 2, p=COUNTS / 1000), 2)
    logits = generator.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels]
    lesions = np.array([f"lesion{index // 2}" for index in range(count)])
    return logits, labels, lesions


def fitted(logits: np.ndarray | None = None, **changes: object) -> Fitted:
    drawn, labels, lesions = outputs()
    given = {"balanced": True, "prior_weight": 1.0, **changes}
    return fit_outputs(
        drawn if logits is None else logits, labels, lesions, CLASSES, COUNTS, **given
    )  # type: ignore[arg-type]


def test_probabilities_and_sets_are_of_the_same_calibration() -> None:
    logits, labels, _ = outputs()
    found = fitted()
    exponent = (logits + np.log(COUNTS / 1000)) / found.calibration.temperature
    np.testing.assert_allclose(found.probabilities, softmax(exponent, axis=1))
    assert found.rulebook.class_shares == (0.15, 0.15, 0.7)
    assert found.rulebook.prior_weight == 1
    assert found.conformal.threshold == conformal_threshold(found.probabilities, labels)
    assert found.conformal.images == 600


def test_sets_are_marginal_unless_each_class_is_to_be_covered() -> None:
    _, labels, _ = outputs()
    plain, conditional = fitted(), fitted(sets="class-conditional")
    assert (plain.conformal.sets, conditional.conformal.sets) == ("marginal", "class-conditional")
    assert plain.conformal.thresholds is None
    assert plain.conformal.limit == plain.conformal.threshold == conditional.conformal.threshold
    expected = class_thresholds(conditional.probabilities, labels)
    assert conditional.conformal.limit == conditional.conformal.thresholds == expected
    assert "thresholds" not in plain.conformal.model_dump()


def test_probabilities_serve_as_well_as_logits() -> None:
    logits, _, _ = outputs()
    plain, again = fitted(), fitted(log_softmax(logits, axis=1))
    np.testing.assert_allclose(again.probabilities, plain.probabilities, atol=1e-6)
    assert again.calibration.temperature == pytest.approx(plain.calibration.temperature)


def test_the_default_rule_is_balanced_and_the_metrics_are_of_it() -> None:
    logits, labels, _ = outputs()
    found = fitted()
    assert found.decision.default == "balanced"
    called = logits.argmax(axis=1)
    expected = classification_metrics(labels, found.probabilities, CLASSES, called)
    assert found.metrics == pytest.approx(expected)
    plain = fitted(rule="most-probable")
    assert plain.metrics["accuracy"] > found.metrics["accuracy"] + 0.02
    assert plain.metrics["balanced_accuracy"] < found.metrics["balanced_accuracy"] - 0.02
    assert plain.metrics["macro_auc"] == found.metrics["macro_auc"]


def test_every_rule_has_its_figures_and_how_often_it_calls_each_class() -> None:
    logits, labels, _ = outputs()
    found = fitted(costs={"mel": {"nv": 20}})
    figures = found.decision.figures
    assert list(figures) == ["balanced", "most-probable", "melanoma-first", "costs"]
    assert all(list(of.metrics) == list(RULE_METRICS) for of in figures.values())
    called = found.probabilities.argmax(axis=1)
    plain = figures["most-probable"]
    assert plain.metrics["accuracy"] == pytest.approx((called == labels).mean())
    assert plain.called == pytest.approx(np.bincount(called, minlength=3) / 600)
    assert figures["balanced"].called == pytest.approx(np.bincount(logits.argmax(1)) / 600)
    sensitivity = {rule: of.metrics["sensitivity_mel"] for rule, of in figures.items()}
    assert sensitivity["costs"] > sensitivity["balanced"] > sensitivity["most-probable"]


def test_the_threshold_of_melanoma_is_for_a_specificity_of_90_percent() -> None:
    _, labels, _ = outputs()
    found = fitted()
    chosen = found.decision.melanoma_first
    assert chosen is not None
    assert chosen.target_specificity == 0.9
    over = found.probabilities[:, 1] > chosen.threshold
    spared, melanomas = ~over[labels != 1], over[labels == 1]
    # The least threshold that spares so many.
    assert 0.9 <= spared.mean() < 0.9 + 1.5 / len(spared)
    for expected, group in ((chosen.specificity, spared), (chosen.sensitivity, melanomas)):
        assert expected.value == pytest.approx(group.mean())
        assert expected.images == len(group)
        assert expected.low < expected.value < expected.high
        # Two images a lesion: wider than as if each image told something new.
        alone = 1.96 * np.sqrt(group.mean() * (1 - group.mean()) / len(group))
        assert alone < expected.high - expected.low < 4 * alone
    figures = found.decision.figures["melanoma-first"].metrics
    assert figures["sensitivity_mel"] == pytest.approx(melanomas.mean())
    assert figures["specificity_mel"] == pytest.approx(spared.mean())
    sentence = found.decision.melanoma_expectation
    assert sentence is not None
    assert f"The threshold is {chosen.threshold:.1%}" in sentence
    assert f"found {melanomas.mean():.0%} of {len(melanomas)} melanomas (95%" in sentence


@pytest.mark.parametrize("classes", [("a", "b", "c"), ("mel", "b", "c")])
def test_without_melanomas_there_is_no_threshold(classes: tuple[str, ...]) -> None:
    logits, labels, lesions = outputs()
    labels = np.where(labels == 0, 1, labels)
    found = fit_outputs(
        logits, labels, lesions, classes, COUNTS, balanced=True, prior_weight=1.0
    ).decision
    assert found.melanoma_first is None
    assert list(found.figures) == ["balanced", "most-probable"]


def test_a_rule_or_costs_that_do_not_fit_are_one_sentence() -> None:
    with pytest.raises(DermaError, match="rule 'costs': this model has no costs; use balanced"):
        fitted(rule="costs")
    with pytest.raises(DermaError, match="costs: class 'bcc' is unknown"):
        fitted(costs={"bcc": {"nv": 2}})
