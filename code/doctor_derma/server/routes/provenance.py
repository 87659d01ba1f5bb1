"""What a model is and where it comes from, as ``GET /v1/model`` tells it."""

from math import isfinite
from typing import Any

from pydantic import BaseModel, Field

from doctor_derma.bundle import (
    BundleInfo,
    CodeProvenance,
    Conformal,
    DataProvenance,
    DiagnosisName,
    Familiar,
    InputSize,
    Parity,
    Weights,
)
from doctor_derma.decisions import MEANINGS, Rule
from doctor_derma.export.decision import Decision
from doctor_derma.inference.notice import NOTICE
from doctor_derma.server.routes.answer import ModelName

MODEL_PATH = "/v1/model"
CARD_PATH = "/v1/model/card"


class OfferedRule(BaseModel):
    """A decision rule that the model has."""

    name: Rule
    meaning: str = Field(description="What it calls, in a sentence")
    expectation: str | None = Field(
        description="What can be expected of it, where that was measured to choose its threshold"
    )


class Provenance(ModelName):
    """What the model is, and all that it came from."""

    architecture: str
    created: str
    classes: list[DiagnosisName] = Field(description="In the model's own order")
    input: InputSize
    temperature: float = Field(description="What the logits are divided by, for calibration")
    prevalence: float = Field(description="How much of the classes' shares the answer keeps, 0..1")
    views: int = Field(description="Looks at a picture, from two distances, averaged")
    conformal: Conformal
    familiar: Familiar
    decision: Decision = Field(description="How probabilities become a label")
    rules: list[OfferedRule] = Field(description="What ?rule= takes; decision.default if not given")
    metrics: dict[str, dict[str, float]] = Field(description="Split (val, test) to metric to value")
    data: DataProvenance
    code: CodeProvenance
    recipe: dict[str, Any] = Field(description="Settings of the training")
    weights: Weights
    parity: Parity
    card: str = Field(default=CARD_PATH, description="Address of the model card")
    notice: str = Field(default=NOTICE, description=NOTICE)

    @classmethod
    def of_bundle(cls, info: BundleInfo) -> "Provenance":
        """Tell all of ``model.json`` that is of use outside."""
        told = info.model_dump(include=set(cls.model_fields) & set(BundleInfo.model_fields))
        # JSON has no number for a metric that is undefined.
        told["metrics"] = {
            split: {metric: value for metric, value in values.items() if isfinite(value)}
            for split, values in info.metrics.items()
        }
        told["rules"] = [
            OfferedRule(
                name=rule,
                meaning=MEANINGS[rule],
                expectation=info.decision.melanoma_expectation
                if rule == "melanoma-first"
                else None,
            )
            for rule in info.rulebook.rules
        ]
        return cls(**told, weights_sha256=info.weights.sha256)
