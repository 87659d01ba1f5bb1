r"""From probabilities to one label, by a rule that is stated.

Probabilities say how likely each class is; what to call a picture is another question, and it
has more than one good answer:

- ``balanced``: the class that the picture itself speaks for most, as if all classes were equally
  common, which raises balanced accuracy most (Menon et al. [1]_);
- ``most-probable``: the class of the greatest probability, which raises accuracy most;
- ``melanoma-first``: melanoma over a threshold on its probability, else the balanced answer
  among the other classes;
- ``costs``: the class of the least expected cost, where some mistakes cost more than others
  (Elkan [2]_);
- ``operating-point``: one of the positive classes, such as the malignant ones, where their
  probabilities add up to more than a threshold (``derma decide``), else the balanced answer among
  the others.

References
----------
.. [1] A. K. Menon et al.: Long-tail learning via logit adjustment. ICLR 2021, arXiv:2007.07314.
.. [2] C. Elkan: The Foundations of Cost-Sensitive Learning. IJCAI 2001.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from doctor_derma.errors import DermaError, first_mistake

Rule = Literal["balanced", "most-probable", "melanoma-first", "costs", "operating-point"]
RULES: tuple[Rule, ...] = get_args(Rule)
# What each rule calls, as the page and the model card say it.
MEANINGS: dict[Rule, str] = {
    "balanced": "The kind that the picture itself speaks for most, as if all kinds were equally "
    "common; rare kinds are found more often.",
    "most-probable": "The kind with the highest percentage; common kinds are called more often.",
    "melanoma-first": "Melanoma as soon as its percentage is over a threshold, else the balanced "
    "answer among the other kinds.",
    "costs": "The kind with the least expected cost, as some mistakes are said to cost more.",
    "operating-point": "One of the kinds that matter most, as soon as their percentages add up to "
    "more than a threshold, else the balanced answer among the other kinds.",
}
# The class that must not be missed.
MELANOMA = "mel"
# True class -> called class -> cost of that mistake.
Costs = Mapping[str, Mapping[str, float]]
_EXAMPLE = "such as 'costs: {mel: {nv: 20}}' for a melanoma called a nevus"


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return natural logarithms, float64; what a float32 can't hold, and is 0, has one as well."""
    return np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))


def balanced_scores(
    probabilities: np.ndarray,
    class_shares: Sequence[float],
    prior_weight: float,
    temperature: float,
) -> np.ndarray:
    r"""Return what a picture says for each class without the class shares, float64 [n, K].

    A bundle's probabilities count the class shares :math:`\pi_k` with the exponent s, its
    prior weight, and are softened by a temperature T (`doctor_derma.export.calibration`):

    .. math:: p_k \propto \exp((f_k + s \log \pi_k) / T)

    Taking the logarithm and the shares' part away leaves the balanced logits :math:`f_k`, but for
    the scale T > 0 and a constant of the picture, neither of which moves the greatest:

    .. math:: \log p_k - (s / T) \log \pi_k = f_k / T + c

    Note the T: dividing by :math:`\pi_k^s` alone would be right only for T = 1.

    Parameters
    ----------
    probabilities : float [n, K]
    class_shares : :math:`\pi_k` of the training images, K numbers; a class of 0 is never called
    prior_weight : s, from 0 to 1
    temperature : T, over 0
    """
    shares = np.asarray(class_shares)
    log_shares = np.log(np.where(shares > 0, shares, 1))
    scores = log_probabilities(probabilities) - prior_weight / temperature * log_shares
    # Of a class without training images the network knows nothing.
    return np.where(shares > 0, scores, -np.inf)


def cost_matrix(costs: Costs, classes: Sequence[str]) -> np.ndarray:
    """Return the cost of calling an image of class i class j, float64 [K, K].

    What is not given costs 1, and nothing where both are the same.

    Raises
    ------
    DermaError
        When a class is unknown, a cost is no number of 0 or more, or a right answer has a cost.

    Examples
    --------
    >>> cost_matrix({"mel": {"nv": 20}}, ["mel", "nv", "vasc"])
    array([[ 0., 20.,  1.],
           [ 1.,  0.,  1.],
           [ 1.,  1.,  0.]])
    """
    matrix = 1 - np.eye(len(classes))
    for true, called_costs in costs.items():
        for called, cost in called_costs.items():
            for name in (true, called):
                if name not in classes:
                    raise DermaError(
                        f"costs: class '{name}' is unknown; this model has {', '.join(classes)}"
                    )
            if not (math.isfinite(cost) and cost >= 0):
                raise DermaError(
                    f"costs: {true} called {called}: {cost} is no cost; give 0 or a number above"
                )
            if true == called and cost != 0:
                raise DermaError(
                    f"costs: {true} called {called} is right and costs 0; leave it out"
                )
            matrix[classes.index(true), classes.index(called)] = cost
    return matrix


def read_costs(path: Path) -> dict[str, dict[str, float]]:
    """Read true class -> called class -> cost from ``costs:`` in a YAML file.

    Raises
    ------
    DermaError
        When the file can't be read or holds anything else; classes are not checked here.
    """
    # Here, as all that decides imports this module, and few read such a file.
    import yaml
    from pydantic import TypeAdapter, ValidationError

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise DermaError(f"{path}: can't be read ({reason}); write it in YAML") from error
    if not isinstance(found, dict) or set(found) != {"costs"}:
        raise DermaError(f"{path}: give costs and nothing else, {_EXAMPLE}")
    try:
        return TypeAdapter(dict[str, dict[str, float]]).validate_python(found["costs"])
    except ValidationError as error:
        wrong = first_mistake(error)
        where = ".".join(("costs", *wrong.keys))
        raise DermaError(f"{path}: {where}: {wrong.reason}; give costs {_EXAMPLE}") from error


def melanoma_threshold(probabilities: np.ndarray, is_melanoma: np.ndarray, target: float) -> float:
    """Return the least threshold that so large a share of all other images is not over.

    Parameters
    ----------
    probabilities : float [n], of melanoma
    is_melanoma : bool [n], some of them False
    target : the specificity asked for, over 0, at most 1

    Examples
    --------
    >>> import numpy as np
    >>> probabilities = np.array([0.9, 0.05, 0.1, 0.2, 0.3])
    >>> is_melanoma = np.array([True, False, False, False, False])
    >>> melanoma_threshold(probabilities, is_melanoma, target=0.75)
    0.2
    """
    others = np.sort(probabilities[~is_melanoma])
    # Rounding must not ask for one image more than the target does.
    spared = math.ceil(target * len(others) - 1e-9)
    return float(others[spared - 1])


@dataclass(frozen=True, eq=False)
class Rulebook:
    """The decision rules that a model has.

    Attributes
    ----------
    classes : the K short class names
    class_shares, prior_weight, temperature : as for ``balanced_scores``
    default : the rule that decides where none is named
    threshold : of ``melanoma-first``; None where none was fitted
    costs : of the rule of that name; None where none were given
    positive, positive_threshold : the classes of ``operating-point``, and what their probabilities
        have to add up to; None where none was chosen

    Raises
    ------
    DermaError
        When ``default`` is a rule that the model does not have, or ``costs`` are wrong.

    Examples
    --------
    A picture may be a nevus most probably, as nine of ten are, and yet speak for melanoma:

    >>> import numpy as np
    >>> rulebook = Rulebook(("mel", "nv"), (0.1, 0.9), prior_weight=1.0, temperature=1.0)
    >>> rulebook.rules
    ('balanced', 'most-probable')
    >>> probabilities = np.array([[0.3, 0.7]])
    >>> rulebook.classes[rulebook.decide(probabilities, "most-probable")[0]]
    'nv'
    >>> rulebook.classes[rulebook.decide(probabilities, "balanced")[0]]
    'mel'
    """

    classes: tuple[str, ...]
    class_shares: tuple[float, ...]
    prior_weight: float
    temperature: float
    default: Rule = "most-probable"
    threshold: float | None = None
    costs: Costs | None = None
    positive: tuple[str, ...] = ()
    positive_threshold: float | None = None

    def __post_init__(self) -> None:
        if self.costs is not None:
            cost_matrix(self.costs, self.classes)
        self.check(self.default)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that this model has."""
        return tuple(rule for rule in RULES if not self._lacks(rule))

    def check(self, rule: Rule) -> None:
        """Refuse a rule that this model does not have, with a DermaError that says why."""
        if reason := self._lacks(rule):
            raise DermaError(f"rule '{rule}': {reason}; use {', '.join(self.rules)}")

    def decide(self, probabilities: np.ndarray, rule: Rule | None = None) -> np.ndarray:
        """Return the class that each picture is called, int64 [n].

        Parameters
        ----------
        probabilities : float [n, K]
        rule : the default one when None

        Raises
        ------
        DermaError
            When the model does not have the rule.
        """
        rule = rule or self.default
        self.check(rule)
        if rule == "most-probable":
            return probabilities.argmax(axis=1)
        if rule == "costs":
            assert self.costs is not None
            expected = probabilities.astype(np.float64) @ cost_matrix(self.costs, self.classes)
            return expected.argmin(axis=1)
        scores = balanced_scores(
            probabilities, self.class_shares, self.prior_weight, self.temperature
        )
        if rule == "balanced":
            return scores.argmax(axis=1)
        if rule == "operating-point":
            first, threshold = np.isin(self.classes, self.positive), self.positive_threshold
        else:
            first, threshold = np.isin(self.classes, MELANOMA), self.threshold
        over = probabilities[:, first].sum(axis=1) > threshold
        # Only the classes of the side that the picture is on are left, also one without images.
        scores = np.maximum(scores, np.finfo(np.float64).min)
        return np.where(over[:, None] == first, scores, -np.inf).argmax(axis=1)

    def _lacks(self, rule: Rule) -> str | None:
        """Say why the model does not have a rule; None where it does."""
        if rule not in RULES:
            return "unknown"
        if rule == "melanoma-first" and MELANOMA not in self.classes:
            return f"this model has no class '{MELANOMA}'"
        if rule == "melanoma-first" and self.threshold is None:
            return "this model has no threshold for melanoma"
        if rule == "costs" and self.costs is None:
            return "this model has no costs"
        if rule == "operating-point" and self.positive_threshold is None:
            return "this model has no operating point; choose one with 'derma decide'"
        return None
