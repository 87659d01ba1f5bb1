"""The part of ``model.json`` that says how probabilities become a label."""

from pydantic import BaseModel, ConfigDict, Field

from doctor_derma.evaluation.decisions import MEANINGS, Rule


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(_Strict):
    """A share of so many images, with the 95% interval over resampled lesions."""

    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    images: int

    def __str__(self) -> str:
        limits = f"95% interval {self.low:.0%} to {self.high:.0%}"
        return f"{self.value:.0%} ({limits}, {self.images:,} images)"


class MelanomaFirst(_Strict):
    """The threshold on the probability of melanoma, and what it did where it was chosen."""

    threshold: float = Field(ge=0, le=1)
    target_specificity: float = Field(gt=0, le=1)
    sensitivity: Expected
    specificity: Expected


class RuleFigures(_Strict):
    """What a rule did on the images that the bundle was fitted on.

    ``metrics`` are those of ``RULE_METRICS``; ``called`` is each class's share of the calls.
    """

    metrics: dict[str, float]
    called: tuple[float, ...]


class Decision(_Strict):
    """The rules of a bundle, see ``evaluation/decisions.py``.

    Every bundle has the rules ``balanced`` and ``most-probable``. One without this section decides
    as it always has, by the most probable class.
    """

    default: Rule = "most-probable"
    melanoma_first: MelanomaFirst | None = None
    costs: dict[str, dict[str, float]] | None = None
    figures: dict[Rule, RuleFigures] = Field(default_factory=dict)

    def meaning(self, rule: Rule) -> str:
        """Say what a rule calls; of ``melanoma-first`` also what can be expected of it."""
        if rule != "melanoma-first" or self.melanoma_first is None:
            return MEANINGS[rule]
        chosen = self.melanoma_first
        return (
            f"{MEANINGS[rule]} The threshold is {chosen.threshold:.1%}. Where it was chosen it "
            f"found {chosen.sensitivity} of the melanomas and spared {chosen.specificity} of all "
            "else."
        )
