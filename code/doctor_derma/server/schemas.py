"""What the API answers about pictures and about its model: shared with the client."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from doctor_derma.bundle import (
    BundleInfo,
    CodeProvenance,
    Conformal,
    DataProvenance,
    Decision,
    DecoderProvenance,
    DiagnosisName,
    InputSize,
    OodThreshold,
    Parity,
    Weights,
)
from doctor_derma.decisions import MEANINGS, Rule
from doctor_derma.finite import finite_values
from doctor_derma.images.quality import QualityWarning
from doctor_derma.inference.prediction import NOTICE, Abstention, Prediction
from doctor_derma.server.problems import UNREADABLE, Problem

MODEL_PATH = "/v1/model"
CARD_PATH = "/v1/model/card"
# Of one picture.
MAX_IMAGE_BYTES = 20_000_000

MapFormat = Literal["none", "grid", "png"]

_EXAMPLE: dict[str, Any] = {
    "label": "nv",
    "full_name": "Melanocytic nevus",
    "rule": "balanced",
    "probabilities": [
        {"name": "nv", "full_name": "Melanocytic nevus", "probability": 0.84, "index": 1},
        {"name": "mel", "full_name": "Melanoma", "probability": 0.14, "index": 0},
        {"name": "vasc", "full_name": "Vascular lesion", "probability": 0.02, "index": 2},
    ],
    "prediction_set": ["nv", "mel"],
    "abstention": "unsure",
    "unfamiliarity": 0.61,
    "warnings": ["blurred"],
    "patient_data": [],
    "activation_map": None,
    "activation_map_png": None,
    "model": {"name": "resnet18", "run": "0123456789abcdef", "weights_sha256": "0" * 64},
    "notice": NOTICE,
}


class ModelName(BaseModel):
    """Which model gave an answer."""

    name: str
    run: str = Field(description="The tracked run that trained it")
    weights_sha256: str = Field(description="SHA-256 of model.onnx")

    @classmethod
    def of(cls, info: BundleInfo) -> "ModelName":
        """Name the model of a bundle."""
        return cls(name=info.name, run=info.run, weights_sha256=info.weights.sha256)


class Probability(BaseModel):
    """One class of the answer."""

    name: str = Field(description="Short name, such as mel")
    full_name: str = Field(description="The name people read, such as Melanoma")
    probability: float = Field(ge=0, le=1)


class RankedClass(Probability):
    """One class of the answer, with its place in the model's own order."""

    index: int = Field(ge=0, description="Place of the class in GET /v1/model, from 0")


class _Finding(BaseModel):
    label: str = Field(
        description="Short name of the class that the rule calls; by some rules it is not the most "
        "probable one"
    )
    full_name: str = Field(description="Its full name")
    rule: Rule = Field(description="The decision rule that called it, see GET /v1/model")
    prediction_set: list[str] = Field(
        description="Short names of the classes that can't be ruled out, most probable first, the "
        "label always among them: for 95% of pictures like those it was tuned on, the true one is "
        "in it"
    )
    abstention: Abstention | None = Field(
        description="Why the label is no answer: the picture is unlike those the model knows "
        "(unfamiliar), or several classes can't be ruled out (unsure)"
    )
    unfamiliarity: float = Field(
        ge=0, description="How unlike the training pictures it is; over 1 is unfamiliar"
    )
    warnings: list[QualityWarning] = Field(description="What is wrong with the picture")
    patient_data: list[Literal["age", "sex", "site"]] = Field(
        default=[], description="What the probabilities take into account beside the picture"
    )
    model: ModelName
    notice: str = Field(description=NOTICE)


class Answer(_Finding):
    """What the model says about one picture."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    probabilities: list[RankedClass] = Field(description="Every class, most probable first")
    activation_map: list[list[float]] | None = Field(
        default=None,
        description="With activation_map=grid: evidence for the label, rows from the top; "
        "the cells tile the whole picture; higher is more",
    )
    activation_map_png: str | None = Field(
        default=None,
        description="With activation_map=png: the same as a coloured PNG in base64, to be "
        "stretched over the whole picture; from dark blue, the least evidence, to yellow",
    )


class PlainAnswer(_Finding):
    """What the model says about one picture, as POST /predict has always told it."""

    probabilities: list[Probability] = Field(description="Every class, most probable first")
    activation_map: list[list[float]] = Field(
        description="Evidence for the label, rows from the top; "
        "the cells tile the whole picture; higher is more"
    )


class Item(BaseModel):
    """One of several pictures: its answer, or the problem that it has."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"index": 0, "answer": _EXAMPLE, "problem": None},
                {
                    "index": 1,
                    "answer": None,
                    "problem": Problem.of(UNREADABLE, "Empty file.").model_dump(),
                },
            ]
        }
    )

    index: int | None = Field(
        ge=0,
        description="Place of the picture in the request, from 0; "
        "null for a problem that kept the rest of the request from being read",
    )
    answer: Answer | None = Field(description="null where there is a problem")
    problem: Problem | None = Field(description="null where there is an answer")


class Answers(BaseModel):
    """What the model says about several pictures, in the order they were sent."""

    items: list[Item]


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
    familiar: OodThreshold
    patient_sites: list[str] | None = Field(
        default=None,
        description="Sites that the model knows, if it takes ?age=, ?sex= and ?site=; else null",
    )
    decision: Decision = Field(description="How probabilities become a label")
    rules: list[OfferedRule] = Field(description="What ?rule= takes; decision.default if not given")
    metrics: dict[str, dict[str, float]] = Field(description="Split (val, test) to metric to value")
    data: DataProvenance
    code: CodeProvenance
    decoder: DecoderProvenance | None = Field(
        description="What decoded the images that the model was fitted on; null in older bundles"
    )
    recipe: dict[str, Any] = Field(description="Settings of the training")
    weights: Weights
    parity: Parity
    card: str = Field(default=CARD_PATH, description="Address of the model card")
    notice: str = Field(default=NOTICE, description=NOTICE)

    @classmethod
    def of_bundle(cls, info: BundleInfo) -> "Provenance":
        """Tell all of ``model.json`` that is of use outside."""
        # By their keys in model.json, which are also those of the answer.
        told = {
            name: value
            for name, value in info.model_dump(by_alias=True).items()
            if name in cls.model_fields
        }
        # JSON has no number for a metric that is undefined.
        told["metrics"] = {split: finite_values(values) for split, values in info.metrics.items()}
        told["patient_sites"] = info.patient and list(info.patient.sites)
        expectations = info.decision.expectations
        told["rules"] = [
            OfferedRule(name=rule, meaning=MEANINGS[rule], expectation=expectations.get(rule))
            for rule in info.rulebook.rules
        ]
        return cls(**told, weights_sha256=info.weights.sha256)


def full_answer(prediction: Prediction, info: BundleInfo) -> Answer:
    """Return the answer for a prediction, without its map."""
    return Answer(**_findings(prediction, info))


def plain_answer(prediction: Prediction, info: BundleInfo) -> PlainAnswer:
    """Return the answer of ``POST /predict`` for a prediction."""
    grid = prediction.activation_map.tolist()
    return PlainAnswer(**_findings(prediction, info), activation_map=grid)


def _findings(prediction: Prediction, info: BundleInfo) -> dict[str, Any]:
    probabilities = prediction.probabilities
    ranked = [
        RankedClass(
            name=each.name,
            full_name=each.full_name,
            # float32 softmax can exceed 1 by a rounding.
            probability=min(probabilities[each.name], 1.0),
            index=index,
        )
        for index, each in enumerate(info.classes)
    ]
    ranked.sort(key=lambda each: probabilities[each.name], reverse=True)
    return {
        "label": prediction.label,
        "full_name": next(each.full_name for each in ranked if each.name == prediction.label),
        "rule": prediction.rule,
        "probabilities": ranked,
        "prediction_set": list(prediction.prediction_set),
        "abstention": prediction.abstention,
        "unfamiliarity": prediction.unfamiliarity,
        "warnings": list(prediction.warnings),
        "patient_data": list(prediction.patient_data),
        "model": ModelName.of(info),
        "notice": NOTICE,
    }
