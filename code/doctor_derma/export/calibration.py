"""What a bundle fits to its network's outputs, on images that training has not seen.

The temperature and offsets that make probabilities of logits, the thresholds of the prediction
sets, and those of the decision rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import softmax

from doctor_derma.bundle import Conformal, Decision, Expected, MelanomaFirst, RuleFigures, SetKind
from doctor_derma.decisions import MELANOMA, Costs, Rule, Rulebook, melanoma_threshold
from doctor_derma.evaluation.bootstrap import bootstrap
from doctor_derma.evaluation.calibration import fit_temperature
from doctor_derma.evaluation.metrics import (
    RULE_METRICS,
    SPECIFICITY,
    classification_metrics,
    weighted_decision_metrics,
)
from doctor_derma.finite import finite_values
from doctor_derma.inference.conformal import TARGET, class_thresholds, conformal_threshold

DEFAULT_RULE: Rule = "balanced"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probabilities are ``softmax(logits / temperature + offsets)``.

    Attributes
    ----------
    temperature : over 0
    offsets : float64 of shape (classes,)
    """

    temperature: float
    offsets: np.ndarray

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return float64 probabilities for float logits, both of shape (n, classes)."""
        return softmax(logits / self.temperature + self.offsets, axis=1)


def calibrate(
    logits: np.ndarray,
    labels: np.ndarray,
    class_counts: np.ndarray,
    *,
    balanced: bool,
    prior_weight: float,
) -> Calibration:
    r"""Set how much the class priors count, and fit the temperature.

    With class shares :math:`\pi_k` of the training split, a balanced loss leaves logits
    :math:`f_k` that treat all classes alike, and a plain one :math:`f_k + \log \pi_k`
    (Menon et al. [1]_, section 3). The shares count with the exponent s, the prior weight:

    .. math:: p_k \propto \exp((f_k + s \log \pi_k) / T)

    With s = 1 the probabilities are those for data like the training data; with s = 0 the most
    probable class is the one that raises balanced accuracy most. The temperature T is fitted
    last [2]_, so that the confidence at this s is that which comes true on these images.

    Parameters
    ----------
    logits : float of shape (n, classes), of images that training has not seen
    labels : int of shape (n,)
    class_counts : training images a class, shape (classes,), all over 0
    balanced : whether the loss made up for the classes' shares
    prior_weight : s, from 0 to 1

    References
    ----------
    .. [1] A. K. Menon et al.: Long-tail learning via logit adjustment. ICLR 2021,
           arXiv:2007.07314.
    .. [2] C. Guo et al.: On Calibration of Modern Neural Networks. ICML 2017,
           arXiv:1706.04599.
    """
    log_shares = np.log(class_counts / class_counts.sum())
    missing = (prior_weight if balanced else prior_weight - 1) * log_shares
    temperature = fit_temperature(logits + missing, labels)
    return Calibration(temperature, missing / temperature)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was fitted to n images of K classes, and what it makes of them.

    Attributes
    ----------
    calibration : from logits to probabilities
    rulebook : the decision rules, with the shares of the classes and their weight
    probabilities : float64 [n, K], of the images that it was fitted to
    conformal : which classes are in a prediction set
    decision : how probabilities become a label
    metrics : every metric of the images under the default rule; what is undefined is left out
    """

    calibration: Calibration
    rulebook: Rulebook
    probabilities: np.ndarray
    conformal: Conformal
    decision: Decision
    metrics: dict[str, float]


def fit_outputs(
    logits: np.ndarray,
    labels: np.ndarray,
    lesions: np.ndarray,
    classes: Sequence[str],
    class_counts: np.ndarray,
    *,
    balanced: bool,
    prior_weight: float,
    rule: Rule = DEFAULT_RULE,
    costs: Costs | None = None,
    sets: SetKind = "marginal",
) -> Fitted:
    """Fit temperature, prediction sets and decision thresholds.

    Parameters
    ----------
    logits : float [n, K], of one network or of many, of images that they have not seen; the
        logarithms of probabilities serve as well
    labels, lesions : int and str [n]; intervals are over lesions
    classes : the K short class names
    class_counts, balanced, prior_weight : as for `calibrate`
    rule : by which labels are decided where none is asked for
    costs : true class -> called class -> cost, for the rule ``costs``
    sets : what the prediction sets promise, see ``inference/conformal.py``

    Raises
    ------
    DermaError
        When there are no logits or one is not finite, the costs are wrong, or the model has no
        such rule.
    """
    calibration = calibrate(
        logits, labels, class_counts, balanced=balanced, prior_weight=prior_weight
    )
    probabilities = calibration.probabilities(logits)
    shares = tuple(float(share) for share in class_counts / class_counts.sum())
    melanoma = _fit_melanoma(probabilities, labels, lesions, classes)
    threshold = melanoma.threshold if melanoma else None
    rulebook = Rulebook(
        tuple(classes), shares, prior_weight, calibration.temperature, rule, threshold, costs
    )
    decided = {name: rulebook.decide(probabilities, name) for name in rulebook.rules}
    metrics = classification_metrics(labels, probabilities, classes, decided[rule])
    return Fitted(
        calibration=calibration,
        rulebook=rulebook,
        probabilities=probabilities,
        conformal=fit_sets(probabilities, labels, sets),
        decision=Decision(
            default=rule,
            melanoma_first=melanoma,
            costs=None if costs is None else {true: dict(of) for true, of in costs.items()},
            figures={name: rule_figures(labels, of, classes) for name, of in decided.items()},
        ),
        metrics=finite_values(metrics),
    )


def fit_sets(probabilities: np.ndarray, labels: np.ndarray, sets: SetKind) -> Conformal:
    """Fit the prediction sets to n images that training has not seen, float [n, K] and int [n]."""
    each = sets == "class-conditional"
    return Conformal(
        target=TARGET,
        threshold=conformal_threshold(probabilities, labels),
        thresholds=class_thresholds(probabilities, labels) if each else None,
        images=len(labels),
    )


def check_decision(classes: Sequence[str], rule: Rule, costs: Costs | None) -> None:
    """Raise `DermaError`, before anything is fitted, for wrong costs or an impossible rule."""
    # The threshold stands for the one to be fitted.
    even = (1.0,) * len(classes)
    Rulebook(tuple(classes), even, 1.0, 1.0, rule, threshold=0.0, costs=costs)


def _fit_melanoma(
    probabilities: np.ndarray, labels: np.ndarray, lesions: np.ndarray, classes: Sequence[str]
) -> MelanomaFirst | None:
    """Choose the threshold for ``SPECIFICITY``; None without images of melanoma or of others."""
    if MELANOMA not in classes:
        return None
    column = list(classes).index(MELANOMA)
    is_melanoma = (labels == column).astype(int)
    melanomas, others = int(is_melanoma.sum()), int((1 - is_melanoma).sum())
    if not melanomas or not others:
        return None
    scores = probabilities[:, column]
    threshold = melanoma_threshold(scores, is_melanoma == 1, SPECIFICITY)
    called = (scores > threshold).astype(int)
    measure = partial(weighted_decision_metrics, is_melanoma, called, ("others", MELANOMA))
    found = bootstrap(lesions, measure)
    return MelanomaFirst(
        threshold=threshold,
        target_specificity=SPECIFICITY,
        sensitivity=Expected(**vars(found[f"sensitivity_{MELANOMA}"]), images=melanomas),
        specificity=Expected(**vars(found[f"specificity_{MELANOMA}"]), images=others),
    )


def rule_figures(labels: np.ndarray, called: np.ndarray, classes: Sequence[str]) -> RuleFigures:
    """Measure what a rule called n images, int [n]."""
    found = weighted_decision_metrics(labels, called, classes, np.ones((1, len(labels))))
    calls = np.bincount(called, minlength=len(classes))
    return RuleFigures(
        metrics=finite_values({name: found[name][0] for name in RULE_METRICS if name in found}),
        called=tuple(float(share) for share in calls / len(called)),
    )
