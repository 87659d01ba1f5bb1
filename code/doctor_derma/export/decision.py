"""The part of ``model.json`` that says how probabilities become a label."""

from pydantic import BaseModel, ConfigDict, Field

from doctor_derma.decisions import Rule


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expected(_Strict):
    """A share of so many images, with the 95% interval over resampled lesions."""

    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    images: int


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
    """The rules of a bundle, see ``decisions.py``.

    Every bundle has the rules ``balanced`` and ``most-probable``. One without this section decides
    as it always has, by the most probable class.
    """

    default: Rule = "most-probable"
    melanoma_first: MelanomaFirst | None = None
    costs: dict[str, dict[str, float]] | None = None
    figures: dict[Rule, RuleFigures] = Field(default_factory=dict)

    @property
    def melanoma_expectation(self) -> str | None:
        """What can be expected of ``melanoma-first``, in a sentence; None without a threshold."""
        if (chosen := self.melanoma_first) is None:
            return None
        found, spared = chosen.sensitivity, chosen.specificity
        return (
            f"The threshold is {chosen.threshold:.1%}: where it was chosen it found "
            f"{found.value:.0%} of {found.images:,} melanomas (95% interval {found.low:.0%} to "
            f"{found.high:.0%}) and spared {spared.value:.0%} of {spared.images:,} other images "
            f"({spared.low:.0%} to {spared.high:.0%})."
        )
