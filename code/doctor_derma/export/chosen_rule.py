"""The rule that a person asks for: chosen on images that training has not seen, and decided by."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doctor_derma.bundle import BundleInfo, Expected, OperatingPoint, Question
from doctor_derma.decisions import Rule, read_costs
from doctor_derma.evaluation import operating_points as points
from doctor_derma.evaluation.bootstrap import Interval
from doctor_derma.evaluation.metrics import classification_metrics
from doctor_derma.evaluation.predictions import Predictions
from doctor_derma.export.calibration import rule_figures
from doctor_derma.finite import finite_values


@dataclass(frozen=True, eq=False)
class ChosenRule:
    """What was chosen to decide by, and what it does.

    Attributes
    ----------
    info : the model's, with the rule as its default, and the figures of that
    target : what was asked for, in words
    figures : sensitivity, specificity, review rate and PPV of the calls, with intervals
    """

    info: BundleInfo
    target: str
    figures: dict[str, Interval]


def choose_rule(
    info: BundleInfo,
    predictions: Predictions,
    question: Question,
    *,
    sensitivity: float | None = None,
    review_rate: float | None = None,
    costs: Path | None = None,
) -> ChosenRule:
    """Choose where a model draws the line, measure that, and let it decide.

    Exactly one of the three reasons is given. Sensitivity and review rate give a threshold on the
    summed probability of the positive classes, and the rule ``operating-point``; costs give the
    rule ``costs``, and a picture is positive where it calls one of these classes.

    Parameters
    ----------
    predictions : of n images that training has not seen, with the model's K classes
    question : what is positive
    sensitivity : share of the positive images to be found, over 0 and under 1
    review_rate : largest share of all images to be called positive, over 0 and under 1
    costs : YAML file, see ``read_costs``

    Raises
    ------
    DermaError
        When all images are positive or none is, or the costs are wrong.
    """
    scores, positive = points.asked(question, predictions)
    classes = tuple(name for name in info.class_names if name in points.QUESTIONS[question])
    threshold = None
    if sensitivity is not None:
        threshold = points.threshold_for_sensitivity(scores, positive, sensitivity)
        target = f"a sensitivity of {sensitivity:.0%}"
    elif review_rate is not None:
        threshold = points.threshold_for_review_rate(scores, review_rate)
        target = f"a review rate of {review_rate:.0%}"
    else:
        assert costs is not None
        info, target = info.deciding(None, read_costs(costs)), f"the costs of {costs.name}"
    if threshold is None:
        named = np.array(info.class_names)[info.rulebook.decide(predictions.probabilities)]
        called = np.isin(named, classes)
    else:
        called = scores > threshold
    found = points.measure_calls(called, positive, predictions.lesions)
    images = {"sensitivity": int(positive.sum()), "specificity": int((~positive).sum())}
    images["review_rate"] = len(positive)
    point = OperatingPoint(
        question=question,
        classes=classes,
        target=target,
        threshold=threshold,
        **{name: Expected(**vars(found[name]), images=count) for name, count in images.items()},
    )
    return ChosenRule(_deciding_by(point, info, predictions), target, found)


def _deciding_by(point: OperatingPoint, info: BundleInfo, predictions: Predictions) -> BundleInfo:
    """Let an operating point decide, and measure its rule; figures of another rule go."""
    rule: Rule = "costs" if point.threshold is None else "operating-point"
    decision = info.decision.model_copy(update={"operating_point": point, "default": rule})
    info = info.model_copy(update={"decision": decision})
    labels, probabilities = predictions.labels, predictions.probabilities
    called = info.rulebook.decide(probabilities)
    figures = decision.figures | {rule: rule_figures(labels, called, info.class_names)}
    decision = decision.model_copy(update={"figures": figures})
    found = classification_metrics(labels, probabilities, info.class_names, called)
    metrics = {"val": finite_values(found)}
    return info.model_copy(update={"decision": decision, "metrics": metrics})
