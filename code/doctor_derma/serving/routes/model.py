"""``GET /healthz`` and ``GET /model``: whether the server is well and which model it runs."""

from math import isfinite
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from doctor_derma.export.bundle import BundleInfo, DiagnosisName
from doctor_derma.serving.classifier import Classifier
from doctor_derma.serving.notice import NOTICE


class ModelName(BaseModel):
    """Which model gave an answer."""

    name: str
    run: str = Field(description="The tracked run that trained it")
    weights_sha256: str = Field(description="SHA-256 of model.onnx")

    @classmethod
    def of(cls, info: BundleInfo) -> "ModelName":
        """Name the model of a bundle."""
        return cls(name=info.name, run=info.run, weights_sha256=info.weights.sha256)


class Health(BaseModel):
    """The server is up and its model is loaded."""

    status: Literal["ok"] = "ok"
    model: ModelName


class TrainingData(BaseModel):
    """What the model was trained on."""

    name: str
    licence: str
    images: dict[str, int] = Field(description="Number of images a split")


class ModelDescription(ModelName):
    """The part of model.json that is of use to people."""

    architecture: str
    created: str
    classes: list[DiagnosisName]
    metrics: dict[str, dict[str, float]] = Field(description="Split (val, test) to metric to value")
    data: TrainingData
    notice: str = Field(default=NOTICE, description=NOTICE)


def model_routes(classifier: Classifier) -> APIRouter:
    """Return the routes that describe the server's model."""
    router = APIRouter(tags=["model"])
    info = classifier.info
    name = ModelName.of(info)
    # JSON has no number for a metric that is undefined.
    metrics = {
        split: {metric: value for metric, value in values.items() if isfinite(value)}
        for split, values in info.metrics.items()
    }
    description = ModelDescription(
        **name.model_dump(),
        architecture=info.architecture,
        created=info.created,
        classes=list(info.classes),
        metrics=metrics,
        data=TrainingData(name=info.data.name, licence=info.data.licence, images=info.data.images),
    )

    @router.get("/healthz", summary="Whether the server is well", response_description="It is")
    async def healthz() -> Health:
        return Health(model=name)

    @router.get(
        "/model", summary="Which model the server runs", response_description="Its description"
    )
    async def model() -> ModelDescription:
        return description

    return router
